"""Molecules made up by valence rules: a chain or ring grows atom by atom, rings close, bonds double."""

from __future__ import annotations

import numpy as np
from rdkit import Chem, rdBase

SIZES = np.array([1, 2, 4, 8, 16, 32, 64, 120, 200], np.float64)
"""Weights of 1 to 9 heavy atoms: there are many more large molecules than small ones."""
ELEMENTS = ("C", "N", "O", "F")
SHARES = (0.70, 0.13, 0.14, 0.03)
VALENCE = {"C": 4, "N": 3, "O": 2, "F": 1}
RINGS = ("C1CC1", "C1CCC1", "C1CCCC1", "C1CCCCC1", "C1=CCCC1", "C1=CCCCC1", "C1CO1", "C1CCOC1", "C1CCNC1", "C1CNCCO1")
AROMATIC = (
    *("c1ccccc1", "c1ccncc1", "c1cncnc1", "c1cnccn1", "c1ccnnc1"),
    *("c1cc[nH]c1", "c1ccoc1", "c1cnc[nH]1", "c1cn[nH]c1", "c1cocn1", "c1conc1"),
)
RING_SHARE, AROMATIC_SHARE = 0.35, 0.3
DOUBLE, TRIPLE, CLOSURE = 0.16, 0.04, 0.35
UNSTABLE = tuple(
    Chem.MolFromSmarts(pattern)
    for pattern in (
        "[O,F]~[O,F]",  # peroxides, hypofluorites
        "[#7]~[F]",
        "[#7;!a]~[#7;!a]~[#7,#8]",
        "[N,O;!a]-[N;!a;H1,H2]-[O,N;!a]",
        "*=*=*",  # allenes, ketenes
        "[R]#[R]",
        "C=C[OH]",  # enols, which are ketones
        "[CX4;!a]([OH,NH2])[OH,NH2,F]",  # geminal: loses water
    )
)
_ORDERS = {1: Chem.BondType.SINGLE, 2: Chem.BondType.DOUBLE, 3: Chem.BondType.TRIPLE}


def sample(rng: np.random.Generator) -> str | None:
    """One molecule's canonical SMILES; ``None`` when what grew would not exist."""
    size = 1 + int(rng.choice(len(SIZES), p=SIZES / SIZES.sum()))
    molecule, free = _seed(rng, size)
    while molecule.GetNumAtoms() < size and any(free):
        _grow(rng, molecule, free)
    if rng.random() < CLOSURE:
        _close(rng, molecule, free)
    with rdBase.BlockLogs():
        if Chem.SanitizeMol(molecule, catchErrors=True) != Chem.SanitizeFlags.SANITIZE_NONE:
            return None
    if any(molecule.HasSubstructMatch(pattern) for pattern in UNSTABLE):
        return None
    return str(Chem.MolToSmiles(molecule))


def _seed(rng: np.random.Generator, size: int) -> tuple[Chem.RWMol, list[int]]:
    draw = rng.random()
    rings = AROMATIC if draw < AROMATIC_SHARE else RINGS if draw < AROMATIC_SHARE + RING_SHARE else ()
    text = str(rng.choice(rings)) if rings else "C"
    ring = Chem.MolFromSmiles(text)
    if ring.GetNumAtoms() > size:
        ring = Chem.MolFromSmiles(str(rng.choice(ELEMENTS, p=SHARES)))
    Chem.Kekulize(ring, clearAromaticFlags=True)
    molecule = Chem.RWMol(ring)
    free = [atom.GetTotalNumHs() for atom in molecule.GetAtoms()]
    for atom in molecule.GetAtoms():
        # What is written [nH] would keep its hydrogen.
        atom.SetNoImplicit(False)
        atom.SetNumExplicitHs(0)
    return molecule, free


def _grow(rng: np.random.Generator, molecule: Chem.RWMol, free: list[int]) -> None:
    anchor = int(rng.choice(np.flatnonzero(free)))
    element = str(rng.choice(ELEMENTS, p=SHARES))
    most = min(free[anchor], VALENCE[element])
    draw = rng.random()
    order = 3 if draw < TRIPLE and most >= 3 else 2 if draw < TRIPLE + DOUBLE and most >= 2 else 1
    atom = molecule.AddAtom(Chem.Atom(element))
    molecule.AddBond(anchor, atom, _ORDERS[order])
    free[anchor] -= order
    free.append(VALENCE[element] - order)


def _close(rng: np.random.Generator, molecule: Chem.RWMol, free: list[int]) -> None:
    """Bond two atoms that are two to five bonds apart: a ring of three to six."""
    distances = Chem.GetDistanceMatrix(molecule)
    open_atoms = np.flatnonzero(free)
    pairs = [(a, b) for a in open_atoms for b in open_atoms if a < b and 2 <= distances[a, b] <= 5]
    if pairs:
        first, second = pairs[int(rng.integers(len(pairs)))]
        molecule.AddBond(int(first), int(second), Chem.BondType.SINGLE)
        free[first] -= 1
        free[second] -= 1
