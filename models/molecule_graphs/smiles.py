"""Requests as SMILES, the notation of chemists for molecules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from rdkit import Chem, rdBase

from models.molecule_graphs.features import graph

LONGEST = 1_000
"""Characters of a text."""
MOST_ATOMS, MOST_RINGS = 256, 10
"""Of a molecule. RDKit's perception of aromatic rings takes time that grows with 2 to the power of their number: 10 ms
for 10 rings, 1 s for 14, a minute for 17, with the interpreter lock held."""


def read_smiles(text: str) -> Mapping[str, NDArray[Any]]:
    """Molecule, as SMILES

    Hydrogens are added, as the model was trained with them.

    Returns:
        ``node_features`` float32 (nodes, 11) and ``edge_index`` int64 (2, edges).

    Raises:
        ValueError: not SMILES, too large a molecule, or an element that the model does not know.
    """
    if len(text) > LONGEST:
        raise ValueError(f"the text has {len(text)} characters; at most {LONGEST} are read")
    # A name, or an extension that costs time and changes no graph, may follow a blank.
    smiles = text.strip().partition(" ")[0]
    with rdBase.BlockLogs():
        # Atoms and bonds alone take a time that is proportional to the text.
        molecule = Chem.MolFromSmiles(smiles, sanitize=False) if smiles.isascii() else None
        if molecule is not None:
            _refuse_large(molecule)
            molecule = Chem.MolFromSmiles(smiles)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise ValueError(f"{text[:80]!r} is not SMILES of a molecule")
    features, edges = graph(Chem.AddHs(molecule))
    return {"node_features": features, "edge_index": edges}


def _refuse_large(molecule: Chem.Mol) -> None:
    """Refuse a molecule that would take long to sanitize.

    Raises:
        ValueError: more atoms or rings than are read.
    """
    atoms = molecule.GetNumAtoms()
    if atoms > MOST_ATOMS:
        raise ValueError(f"the molecule has {atoms} atoms; at most {MOST_ATOMS} are read")
    rings = molecule.GetNumBonds() - atoms + len(Chem.GetMolFrags(molecule))
    if rings > MOST_RINGS:
        raise ValueError(f"the molecule has {rings} rings; at most {MOST_RINGS} are read")


read_smiles.longest = LONGEST  # type: ignore[attr-defined]  # the server refuses a longer text
read_smiles.example = "CC(=O)Oc1ccccc1"  # type: ignore[attr-defined]  # the server shows it, and tries it at its start
