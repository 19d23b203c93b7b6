"""A molecule as a picture, drawn by RDKit."""

from __future__ import annotations

WIDTH, HEIGHT = 380, 260


def draw_smiles(text: str) -> str | None:
    """SVG of a molecule written as SMILES; ``None`` if it is not valid, or RDKit is not installed."""
    try:
        from rdkit import Chem, RDLogger
        from rdkit.Chem.Draw import rdMolDraw2D
    except ImportError:
        return None
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # its stubs lack it
    molecule = Chem.MolFromSmiles(text)
    if molecule is None or not molecule.GetNumAtoms():
        return None
    drawing = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    drawing.DrawMolecule(molecule)
    drawing.FinishDrawing()
    return str(drawing.GetDrawingText())
