"""QM9: 131,000 molecules with 19 properties from density functional theory, read by PyTorch Geometric."""

from __future__ import annotations

import hashlib
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rich.progress import track

from lading.errors import DataError
from models.molecule_graphs.features import graph
from models.molecule_graphs.molecule_split import SPLITS, MoleculeSplit, check_split
from models.molecule_graphs.packed import PackedGraphs, cache_root
from models.molecule_graphs.properties import QM9

TRAIN, VALID = 110_000, 10_000
"""The usual split: 110,000 to train on, 10,000 to validate, the rest to test (Schuett et al., arXiv:1706.08566)."""
_BONDS = (Chem.BondType.SINGLE, Chem.BondType.DOUBLE, Chem.BondType.TRIPLE, Chem.BondType.AROMATIC)


def qm9(split: str, root: Path | None = None, *, seed: int = 0) -> MoleculeSplit:
    """QM9's molecules of one split, shuffled by ``seed``.

    PyTorch Geometric downloads and reads the raw files. It leaves them unsanitized, so that its columns aromatic, sp,
    sp2 and sp3 are zero; they are filled in here from its bonds, by the function that reads a client's SMILES.

    Args:
        split: ``train``, ``valid`` or ``test``.
        root: PyTorch Geometric's folder; default: below ``LADING_DATA`` or ``~/.cache/lading``.
        seed: of the split.

    Raises:
        DataError: there is no such split, or the download or its files cannot be read.
    """
    check_split(split)
    folder = root or cache_root() / "qm9"
    graphs = _load(folder)
    order = np.random.default_rng(seed).permutation(len(graphs))
    # A part of the set, as in a test, is split in the same shares.
    whole = TRAIN + 2 * VALID + 831
    ends = [round(end * min(1.0, len(graphs) / whole)) for end in (TRAIN, TRAIN + VALID)]
    members = np.sort(np.split(order, ends)[SPLITS.index(split)])
    fingerprint = hashlib.sha256(f"qm9 {seed} {len(graphs)} {graphs.targets.sum(axis=0)}".encode()).hexdigest()
    return MoleculeSplit(graphs, graphs.targets, QM9, members, fingerprint)


@lru_cache(maxsize=2)
def _load(folder: Path) -> PackedGraphs:
    packed = folder / "lading-1.npz"
    if not packed.is_file():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's deprecations
                from torch_geometric import datasets

                dataset = datasets.QM9(str(folder))
        except Exception as error:  # its transport, torch and RDKit raise what they like
            raise DataError(
                f"QM9 cannot be read into {folder} ({type(error).__name__}: {error}); put gdb9.sdf, gdb9.sdf.csv and "
                "uncharacterized.txt into its folder raw, or train on made-up molecules with model.data=generated"
            ) from error
        _pack(dataset).save(packed)
    return PackedGraphs.load(packed)


def _pack(dataset: Any) -> PackedGraphs:
    found = [(_graph(data), _targets(data), str(data.smiles)) for data in track(dataset, "packing QM9")]
    return PackedGraphs.of([one[0] for one in found], np.stack([one[1] for one in found]), [one[2] for one in found])


def _targets(data: Any) -> NDArray[np.float64]:
    return np.asarray(data.y[0].double().numpy(), np.float64)


def _graph(data: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Build the molecule again from its atoms and bonds, in their order, and describe it like a client's molecule."""
    molecule = Chem.RWMol()
    for number in data.z.tolist():
        molecule.AddAtom(Chem.Atom(number))
    for (source, target), kind in zip(data.edge_index.T.tolist(), data.edge_attr.argmax(1).tolist(), strict=True):
        if source < target:
            molecule.AddBond(source, target, _BONDS[kind])
    for atom in molecule.GetAtoms():
        atom.SetNoImplicit(True)
    # Not the check of valences: the file's zwitterions have no charges.
    molecule.UpdatePropertyCache(strict=False)
    Chem.SanitizeMol(molecule, Chem.SanitizeFlags.SANITIZE_ALL ^ Chem.SanitizeFlags.SANITIZE_PROPERTIES)
    return graph(molecule)
