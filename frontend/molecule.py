"""A molecule as a picture, drawn by RDKit."""

from __future__ import annotations

WIDTH, HEIGHT = 380, 260
LONGEST, MOST_ATOMS, MOST_RINGS = 200, 200, 10
"""Largest text and molecule that is drawn. RDKit holds the interpreter's lock, and takes seconds for larger ones."""


def draw_smiles(text: str) -> str | None:
    """SVG of a molecule written as SMILES; ``None`` if it is not valid, too large, or RDKit is not installed."""
    if len(text) > LONGEST:
        return None
    try:
        from rdkit import Chem, RDLogger
        from rdkit.Chem.Draw import rdMolDraw2D
    except ImportError:
        return None
    RDLogger.DisableLog("rdApp.*")  # type: ignore[attr-defined]  # its stubs lack it
    # The time to draw grows with 2 to the power of the number of rings, so atoms and bonds are counted first.
    molecule = Chem.MolFromSmiles(text, sanitize=False)
    if molecule is None or not 0 < (atoms := molecule.GetNumAtoms()) <= MOST_ATOMS:
        return None
    if molecule.GetNumBonds() - atoms + len(Chem.GetMolFrags(molecule)) > MOST_RINGS:
        return None
    molecule = Chem.MolFromSmiles(text)
    if molecule is None:
        return None
    drawing = rdMolDraw2D.MolDraw2DSVG(WIDTH, HEIGHT)
    drawing.DrawMolecule(molecule)
    drawing.FinishDrawing()
    return str(drawing.GetDrawingText())
