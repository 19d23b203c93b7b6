"""The split of a molecule: all molecules with the same scaffold are in the same split."""

from __future__ import annotations

import hashlib

from rdkit import Chem
from rdkit.Chem.Scaffolds import MurckoScaffold

VALID, TEST = 0.07, 0.13
"""Shares of the scaffolds."""


def scaffold(molecule: Chem.Mol) -> str:
    """The rings and the chains between them (Bemis and Murcko, 1996); of a molecule without rings, its bare skeleton:
    every atom a carbon and every bond single."""
    framework = MurckoScaffold.GetScaffoldForMol(molecule)  # type: ignore[no-untyped-call]
    if framework.GetNumAtoms():
        return str(Chem.MolToSmiles(framework))
    skeleton = Chem.RWMol(molecule)
    for atom in skeleton.GetAtoms():
        atom.SetAtomicNum(6)
    for bond in skeleton.GetBonds():
        bond.SetBondType(Chem.BondType.SINGLE)
    return str(Chem.MolToSmiles(skeleton))


def split_of(name: str, seed: int) -> str:
    """``train``, ``valid`` or ``test``, by a hash of the scaffold's name alone: no molecule ever changes its split."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    share = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if share < TEST else "valid" if share < TEST + VALID else "train"
