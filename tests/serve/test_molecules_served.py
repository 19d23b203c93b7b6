"""The molecules model on a real server: one molecule a request, and what is refused."""

from __future__ import annotations

import json
import shlex
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.predictor import Predictor
from lading.spec import Array
from lading.tensors.ragged import collate
from models.molecule_graphs.smiles import read_smiles
from tests.given.documented import ROOT, commands
from tests.given.few_molecules import SMILES, molecules_artifact, with_more_examples
from tests.given.live_server import LiveServer, live_server, wait_until

ATOM = [0, 1, 0, 0, 0, 6, 0, 0, 0, 1, 4]
ALONE: dict[str, Any] = {"node_features": [ATOM], "edge_index": [[], []]}


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return molecules_artifact(tmp_path_factory.mktemp("molecules") / "molecules")


@pytest.fixture(scope="module")
def molecules(artifact: Artifact) -> Iterator[LiveServer]:
    """One lane, so that what waits together shares a run."""
    with live_server(artifact, lanes=1, text_forms={"smiles": "models.molecule_graphs.smiles:read_smiles"}) as live:
        yield live


def body(smiles: str) -> dict[str, Any]:
    return {name: array.tolist() for name, array in read_smiles(smiles).items()}


def expected(artifact: Artifact, smiles: str) -> dict[str, Array]:
    return Predictor(artifact)(collate(artifact.manifest.inputs, [dict(read_smiles(smiles))]))


def test_one_molecule_a_request_is_answered_by_name_with_units(molecules: LiveServer) -> None:
    answer = molecules.client.post("/predict", json=body("CCO")).json()
    assert answer["units"] == {"molar_refractivity": "cm3/mol", "tpsa": "A2", "surface_area": "A2"}
    assert list(answer["outputs"]) == ["logp", "molar_refractivity", "tpsa", "surface_area", "complexity", "qed"]
    for name, array in expected(molecules.artifact, "CCO").items():
        assert answer["outputs"][name] == pytest.approx(array.tolist(), rel=1e-5, abs=1e-5)


def test_a_single_atom_has_no_bonds_and_is_a_molecule(molecules: LiveServer) -> None:
    answer = molecules.client.post("/predict", json=ALONE)
    assert answer.status_code == 200
    assert np.isfinite(answer.json()["outputs"]["logp"]).all()


def test_the_documented_requests_are_answered_whatever_values_training_had(artifact: Artifact, tmp_path: Path) -> None:
    """Bounds guessed from data do not refuse; an example outside of them is counted."""
    methane, unseen = documented_bodies()
    with live_server(with_more_examples(artifact, tmp_path / "more"), drift_per_second=1e6) as live:
        for sent in (methane, unseen):
            answer = live.client.post("/predict", json=sent)
            assert (answer.status_code, len(answer.json()["outputs"])) == (200, 6)
        counted = 'lading_inputs_outside_seen_range_total{feature="node_features.atomic number",model="molecules"} 1.0'
        wait_until(lambda: counted in live.client.get("/metrics").text)
        assert 'feature="node_features.count"' in live.client.get("/metrics").text, "no molecule has two atoms"


@pytest.mark.parametrize("value", [-1, 0.5, 17, 118, 1e6, -1e30])
def test_every_finite_value_gets_an_answer_or_a_sentence(molecules: LiveServer, value: float) -> None:
    answer = molecules.client.post("/predict", json={"node_features": [[value] * 11] * 2, "edge_index": [[0], [1]]})
    if answer.status_code == 200:
        assert all(np.isfinite(values).all() for values in answer.json()["outputs"].values())
    else:
        assert "is not finite" in answer.json()["error"]
        assert abs(value) > 1e20


def documented_bodies() -> list[dict[str, Any]]:
    """The JSON bodies of the curl commands on the model's page."""
    page = commands(ROOT / "docs/molecules.md")
    texts = [words[words.index("-d") + 1] for words in map(shlex.split, page) if words[0] == "curl"]
    return [json.loads(text) for text in texts if text.startswith("{")]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an index beyond the atoms": (
        {**ALONE, "edge_index": [[0], [1]]},
        "input 'edge_index' has the index 1; 'nodes' runs from 0 to 0",
    ),
    "a negative index": (
        {**ALONE, "edge_index": [[0], [-1]]},
        "input 'edge_index' has the index -1; 'nodes' runs from 0 to 0",
    ),
    "an index with a fraction": (
        {**ALONE, "edge_index": [[0], [0.5]]},
        "input 'edge_index'[1][0] is 0.5; the model takes integers (int64)",
    ),
    "three rows of indexes": (
        {**ALONE, "edge_index": [[0], [0], [0]]},
        "input 'edge_index' has shape [3, 1]; the model takes [2, edges]",
    ),
    "rows of different lengths": (
        {**ALONE, "edge_index": [[0, 0], [0]]},
        "input 'edge_index' is ragged: [0] has 2 entries, and [1] has 1",
    ),
    "ten features": (
        {**ALONE, "node_features": [ATOM[:10]]},
        "input 'node_features' has shape [1, 10]; the model takes [nodes, 11]",
    ),
    "a flat list of features": (
        {**ALONE, "node_features": ATOM},
        "input 'node_features'[0] is an integer; the model takes 2 nested lists, of shape [nodes, 11]",
    ),
    "no atoms": (
        {**ALONE, "node_features": []},
        "input 'node_features' has shape [0, 11]: the dim 'nodes' is empty",
    ),
    "no bonds named": (
        {"node_features": [ATOM]},
        "input 'edge_index' is missing; the inputs are: node_features, edge_index",
    ),
    "ten thousand atoms": (
        {**ALONE, "node_features": [ATOM] * 10_000},
        "input 'node_features' has 10000 nodes in one example; at most 256 are accepted",
    ),
    "ten thousand bonds": (
        {**ALONE, "edge_index": [[0] * 10_000] * 2},
        "input 'edge_index' has 10000 edges in one example; at most 1024 are accepted",
    ),
    "a bond between two molecules": (
        {"node_features": [ATOM] * 2, "edge_index": [[0], [1]], "owner": [0, 1]},
        "input 'edge_index' joins two examples at edges 0: each may point into its own alone",
    ),
}


@pytest.mark.parametrize(("sent", "sentence"), WRONG.values(), ids=WRONG)
def test_a_molecule_that_cannot_be_is_refused_in_one_sentence(
    molecules: LiveServer, sent: dict[str, Any], sentence: str
) -> None:
    answer = molecules.client.post("/predict", json=sent)
    assert (answer.status_code, answer.json()["error"]) == (400, sentence)


def test_nan_is_not_json(molecules: LiveServer) -> None:
    sent = b'{"node_features": [[NaN,1,0,0,0,6,0,0,0,1,4]], "edge_index": [[], []]}'
    answer = molecules.client.post("/predict", content=sent)
    assert (answer.status_code, answer.json()["error"][:37]) == (400, "NaN and Infinity are not JSON numbers")


def test_what_is_wrong_with_one_molecule_never_harms_those_that_share_its_run(artifact: Artifact) -> None:
    with live_server(artifact, lanes=1, brief_ms=0) as live:  # so that all wait for the lane
        share_a_run(live)


def share_a_run(molecules: LiveServer) -> None:
    wrong = [sent for sent, _ in WRONG.values()][:6]
    sent = [entry for pair in zip(map(body, SMILES), (wrong * 2)[: len(SMILES)], strict=True) for entry in pair]
    gate = threading.Event()
    molecules.hold(gate)
    try:
        with ThreadPoolExecutor(len(sent)) as pool:
            answers = [pool.submit(molecules.client.post, "/predict", json=one) for one in sent]
            wait_until(lambda: molecules.app.repository.find().pending == len(sent) + 1)
            gate.set()
            found = [answer.result() for answer in answers]
    finally:
        gate.set()
    assert [answer.status_code for answer in found] == [200, 400] * len(SMILES)
    for smiles, answer in zip(SMILES, found[::2], strict=True):
        for name, array in expected(molecules.artifact, smiles).items():
            assert answer.json()["outputs"][name] == pytest.approx(array.tolist(), rel=1e-4, abs=1e-4)
    sizes = molecules.client.get("/metrics").text
    shared = next(
        line for line in sizes.splitlines() if line.startswith("lading_batch_size_bucket") and 'le="1.0"' in line
    )
    count = next(line for line in sizes.splitlines() if line.startswith("lading_batch_size_count"))
    assert float(count.split()[-1]) > float(shared.split()[-1]), "no run was shared"


def test_smiles_are_read_by_the_function_that_the_operator_named(molecules: LiveServer) -> None:
    answer = molecules.client.post("/predict/smiles", content="CCO", headers={"content-type": "text/plain"})
    alone = molecules.client.post("/predict", json=body("CCO")).json()
    assert answer.status_code == 200
    assert {key: value for key, value in answer.json().items() if key != "inputs"} == alone
    assert molecules.client.post("/predict", json=answer.json()["inputs"]).json() == alone


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("CC(", "smiles: 'CC(' is not SMILES of a molecule"),
        ("CCS", "smiles: the element S is none of H, C, N, O and F"),
        ("", "the body has 0 characters; send 1 to 1000, such as CC(=O)Oc1ccccc1"),
        ("C" * 100, "input 'node_features' has 302 nodes in one example; at most 256 are accepted"),
        ("C" * 300, "smiles: the molecule has 300 atoms; at most 256 are read"),
        ("C" * 1001, "the body has 1001 characters; send 1 to 1000, such as CC(=O)Oc1ccccc1"),
    ],
)
def test_smiles_that_cannot_be_read_are_refused(molecules: LiveServer, text: str, sentence: str) -> None:
    answer = molecules.client.post("/predict/smiles", content=text)
    assert (answer.status_code, answer.json()["error"]) == (400, sentence)


def test_the_description_offers_the_text_and_one_molecule_as_an_example(molecules: LiveServer) -> None:
    described = molecules.client.get("/model").json()
    text = {"name": "smiles", "label": "Molecule, as SMILES", "example": "CC(=O)Oc1ccccc1"}
    assert described["texts"] == [text]
    assert described["example"] == body(SMILES[0])
    assert "/predict/smiles" in molecules.client.get("/docs.json").json()["paths"]
