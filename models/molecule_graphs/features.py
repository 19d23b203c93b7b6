"""A molecule as the graph that clients send: 11 numbers an atom, and two directed edges a bond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem.rdchem import HybridizationType

FEATURES = ("H", "C", "N", "O", "F", "atomic number", "aromatic", "sp", "sp2", "sp3", "hydrogens")
"""The columns of ``node_features``, in the order of ``torch_geometric.datasets.QM9`` (its ``process``, version 2.8):
the element one-hot, then atomic number, aromatic, sp, sp2, sp3, and the number of hydrogens bonded to the atom."""
ELEMENTS = (1, 6, 7, 8, 9)


def graph(molecule: Chem.Mol) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features and bonds of a sanitized molecule whose hydrogens are atoms of their own, as in QM9.

    Returns:
        ``node_features`` float32 (nodes, 11), and ``edge_index`` int64 (2, edges): each bond both ways, sorted by
        source and then target.

    Raises:
        ValueError: an element other than H, C, N, O and F.
    """
    features = np.zeros((molecule.GetNumAtoms(), len(FEATURES)), np.float32)
    for row, atom in zip(features, molecule.GetAtoms(), strict=True):
        number = atom.GetAtomicNum()
        if number not in ELEMENTS:
            raise ValueError(f"the element {atom.GetSymbol()} is none of H, C, N, O and F")
        hybridization = atom.GetHybridization()
        row[ELEMENTS.index(number)] = 1
        row[5:10] = (
            number,
            atom.GetIsAromatic(),
            hybridization == HybridizationType.SP,
            hybridization == HybridizationType.SP2,
            hybridization == HybridizationType.SP3,
        )
        row[10] = sum(neighbour.GetAtomicNum() == 1 for neighbour in atom.GetNeighbors())
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    both = sorted([*bonds, *((end, begin) for begin, end in bonds)])
    return features, np.array(both, np.int64).reshape(-1, 2).T
