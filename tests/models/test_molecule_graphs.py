"""Molecules as data: made up, or QM9 in its raw format; and SMILES as a request."""

from __future__ import annotations

import contextlib
import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem
from rdkit.Chem import rdDistGeom

from lading.errors import DataError
from models.molecule_graphs import FEATURES
from models.molecule_graphs.features import graph
from models.molecule_graphs.generated import RECIPE, draw, generated
from models.molecule_graphs.packed import PackedGraphs
from models.molecule_graphs.properties import QM9
from models.molecule_graphs.qm9 import qm9
from models.molecule_graphs.sample import VALENCE
from models.molecule_graphs.scaffolds import scaffold
from models.molecule_graphs.smiles import read_smiles

COUNT = 120
SPLITS = ("train", "valid", "test")
FORMULAS = ("C", "N", "O", "C#C", "CC=O", "c1cc[nH]c1", "CC#N", "C[NH2+]CC([O-])=O")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("molecules")
    generated("train", COUNT, cache=folder, workers=1)
    return folder


def names(cache: Path, split: str, count: int = COUNT) -> list[str]:
    members = generated(split, count, cache=cache, workers=1).members
    return [str(PackedGraphs.load(next(cache.glob(f"{count}-0-*.npz"))).names[member]) for member in members]


def test_the_columns_are_those_of_pytorch_geometrics_qm9() -> None:
    features, edges = graph(Chem.AddHs(Chem.MolFromSmiles("C=O")))
    assert FEATURES == ("H", "C", "N", "O", "F", "atomic number", "aromatic", "sp", "sp2", "sp3", "hydrogens")
    assert features.tolist() == [
        [0, 1, 0, 0, 0, 6, 0, 0, 1, 0, 2],
        [0, 0, 0, 1, 0, 8, 0, 0, 1, 0, 0],
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
        [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0],
    ]
    assert edges.tolist() == [[0, 0, 0, 1, 2, 3], [1, 2, 3, 0, 0, 0]]


def test_made_up_molecules_keep_the_rules_of_valence() -> None:
    for smiles in draw(7, 0)[:200]:
        molecule = Chem.MolFromSmiles(smiles)
        assert molecule is not None
        assert Chem.MolToSmiles(molecule) == smiles
        assert molecule.GetNumAtoms() <= 9
        for atom in molecule.GetAtoms():
            assert atom.GetTotalValence() == VALENCE[atom.GetSymbol()]
            assert atom.GetFormalCharge() == 0


def test_no_molecule_is_there_twice_and_no_scaffold_in_two_splits(cache: Path) -> None:
    found = {split: names(cache, split) for split in SPLITS}
    together = [name for split in SPLITS for name in found[split]]
    assert len(together) == len(set(together)) == COUNT
    scaffolds = {split: {scaffold(Chem.MolFromSmiles(name)) for name in found[split]} for split in SPLITS}
    assert all(scaffolds[split] for split in SPLITS)
    assert not scaffolds["train"] & scaffolds["test"]
    assert not scaffolds["train"] & scaffolds["valid"]
    assert not scaffolds["valid"] & scaffolds["test"]


def test_molecules_without_rings_are_grouped_by_their_skeleton() -> None:
    assert scaffold(Chem.MolFromSmiles("CC(=O)N")) == scaffold(Chem.MolFromSmiles("FC(F)C")) == "CC(C)C"
    assert scaffold(Chem.MolFromSmiles("Cc1ccccc1")) == "c1ccccc1"


def test_the_same_seed_gives_the_same_molecules_and_fewer_are_the_first_of_more(cache: Path, tmp_path: Path) -> None:
    generated("train", 40, cache=tmp_path, workers=1)
    few = PackedGraphs.load(next(tmp_path.glob("40-0-*.npz")))
    many = PackedGraphs.load(next(cache.glob(f"{COUNT}-0-*.npz")))
    assert few.names.tolist() == many.names[:40].tolist()
    np.testing.assert_array_equal(few.targets, many.targets[:40])
    assert set(names(tmp_path, "test", 40)) <= set(names(cache, "test"))
    # Other molecules than before are another RECIPE.
    assert (RECIPE, few.names[:3].tolist()) == (1, ["CCc1cncc(C)n1", "CC", "CC(C)C1(C)CC1=CF"])


def test_an_example_is_the_molecules_graph_with_its_properties(cache: Path) -> None:
    split = generated("train", COUNT, cache=cache, workers=1)
    inputs, targets = split[0]
    features, edges = graph(Chem.AddHs(Chem.MolFromSmiles(names(cache, "train")[0])))
    np.testing.assert_array_equal(inputs["node_features"], features)
    np.testing.assert_array_equal(inputs["edge_index"], edges)
    assert list(targets) == [prop.name for prop in split.properties]
    assert targets["logp"].shape == ()
    assert targets["logp"].dtype == np.float32
    mean, deviation = split.statistics()
    assert mean.dtype == np.float64
    np.testing.assert_allclose(mean, split.targets.mean(axis=0))
    assert (deviation > 0).all()


def test_a_torn_file_and_an_unknown_split_are_refused(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the molecules have no split 'dev'; the splits are: train, valid, test"):
        generated("dev", COUNT, cache=cache)
    (tmp_path / "torn.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="delete it, and it will be made again"):
        PackedGraphs.load(tmp_path / "torn.npz")


@pytest.fixture(scope="module")
def qm9_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """QM9's raw files, with few molecules; the second is on the list of those to leave out."""
    root = tmp_path_factory.mktemp("qm9")
    raw = root / "raw"
    raw.mkdir()
    with Chem.SDWriter(str(raw / "gdb9.sdf")) as writer:
        writer.SetKekulize(True)
        for number, smiles in enumerate(FORMULAS, 1):
            molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
            rdDistGeom.EmbedMolecule(molecule, randomSeed=1)
            molecule.SetProp("_Name", f"gdb_{number}")
            writer.write(molecule)
    with (raw / "gdb9.sdf.csv").open("w", newline="\n") as stream:
        rows = csv.writer(stream, lineterminator="\n")
        rows.writerow(["mol_id", "A", "B", "C", "mu", "alpha", "homo", *("x" * 13)])
        for number in range(len(FORMULAS)):
            rows.writerow([f"gdb_{number + 1}", *(100.0 * number + column for column in range(19))])
    lines = [f"header {line}" for line in range(9)] + ["2 N 0.1"] + ["", ""]
    (raw / "uncharacterized.txt").write_text("\n".join(lines))
    return root


def test_qm9_is_read_by_pytorch_geometric_from_its_raw_files(qm9_root: Path) -> None:
    splits = [qm9(split, qm9_root) for split in SPLITS]
    assert sum(map(len, splits)) == len(FORMULAS) - 1
    assert splits[0].properties == QM9
    everything = np.concatenate([split.targets for split in splits])
    # The file begins with the three rotational constants, which come last here; energies come in hartree.
    methane = everything[everything[:, -3].argmin()]
    np.testing.assert_allclose(methane[-3:], [0, 1, 2])
    np.testing.assert_allclose(methane[:2], [3, 4])
    np.testing.assert_allclose(methane[2:5], np.array([5, 6, 7]) * 27.211386246, rtol=1e-6)


def test_qm9s_graphs_are_those_that_smiles_give(qm9_root: Path) -> None:
    found = {}
    for split in SPLITS:
        members = qm9(split, qm9_root)
        for index in range(len(members)):
            inputs, targets = members[index]
            found[round(float(targets["a"])) // 100] = inputs
    for number, smiles in enumerate(FORMULAS[:-1]):
        if number == 1:
            assert number not in found
            continue
        expected = read_smiles(smiles)
        np.testing.assert_array_equal(found[number]["node_features"], expected["node_features"])
        np.testing.assert_array_equal(found[number]["edge_index"], expected["edge_index"])
    assert found[len(FORMULAS) - 1]["node_features"].shape[1] == 11  # a zwitterion is read too


def test_without_qm9s_files_it_is_said_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for name in ("gdb9.sdf", "gdb9.sdf.csv", "uncharacterized.txt"):
        (tmp_path / "raw" / name).write_text("")
    with pytest.raises(DataError, match=r"put gdb9\.sdf, gdb9\.sdf\.csv and uncharacterized\.txt into"):
        qm9("train", tmp_path)


NECKLACE = "c12cc(c1)" + "c1cc(c1)" * 14 + "c1cc2c1"
"""A ring of rings. RDKit needs half a minute for it, and twice as long for each further ring."""


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (NECKLACE, "17 rings; at most 10"),
        ("C1CC1." * 10 + "C1CC1", "11 rings; at most 10"),
        (NECKLACE.replace("c", "C"), "17 rings; at most 10"),
        (NECKLACE.replace("c", "n"), "17 rings; at most 10"),
        ("C" * 257, "257 atoms; at most 256"),
        ("C." * 256 + "C", "257 atoms; at most 256"),
        ("[H]" * 257, "257 atoms; at most 256"),
        ("C" * 1001, "1001 characters; at most 1000"),
        (" " * 1001, "1001 characters; at most 1000"),
        ("C\0C", "is not SMILES"),
        ("C\U0001f600", "is not SMILES"),
        ("C\ud800", "is not SMILES"),
    ],
)
def test_what_would_take_long_to_sanitize_is_refused_by_its_counts(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_smiles(text)


PARTS = st.sampled_from(
    [*"CNOFcno()[]=#$:/\\@+-.%123456789*~<>|^{} \t\0é", "[nH]", "[C@H]", "C1CC1", "c1ccccc1", "[H]", "%(100)"]
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PARTS, max_size=60), st.integers(1, 10))
def test_any_text_is_a_molecule_or_a_value_error(parts: list[str], times: int) -> None:
    with contextlib.suppress(ValueError):
        assert read_smiles("".join(parts) * times)["node_features"].shape[1] == 11


def test_a_name_or_an_extension_after_the_smiles_is_ignored() -> None:
    alone = read_smiles("CCO")
    for text in ("CCO ethanol", " CCO ", "CCO |$a;b;c$|"):
        np.testing.assert_array_equal(read_smiles(text)["node_features"], alone["node_features"])


@pytest.mark.parametrize(
    ("text", "reason"), [("not a molecule", "is not SMILES"), ("", "is not SMILES"), ("CCS", "S is")]
)
def test_what_is_not_a_molecule_of_the_five_elements_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_smiles(text)
