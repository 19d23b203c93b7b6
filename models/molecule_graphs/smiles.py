"""Requests as SMILES, the notation of chemists for molecules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray
from rdkit import Chem, rdBase

from models.molecule_graphs.features import graph


def read_smiles(text: str) -> Mapping[str, NDArray[Any]]:
    """Molecule, as SMILES

    Hydrogens are added, as the model was trained with them.

    Returns:
        ``node_features`` float32 (nodes, 11) and ``edge_index`` int64 (2, edges).

    Raises:
        ValueError: not SMILES, or an element that the model does not know.
    """
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(text)
    if molecule is None or molecule.GetNumAtoms() == 0:
        raise ValueError(f"{text[:80]!r} is not SMILES of a molecule")
    features, edges = graph(Chem.AddHs(molecule))
    return {"node_features": features, "edge_index": edges}


read_smiles.example = "CC(=O)Oc1ccccc1"  # type: ignore[attr-defined]  # the server shows it, and tries it at its start
