"""The molecules model: one network in two forms, its score, and the checkpoint that lies beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lading.build.export.export import export_module
from lading.build.train.checkpoint import load_checkpoint, read_card
from lading.build.train.config import compose
from lading.build.train.module import evaluate
from lading.build.train.train import train
from lading.import_string import load_spec
from lading.predictor import open_session
from lading.spec import Array
from lading.tensors.ragged import collate
from models.molecule_graphs import error_ratio
from models.molecules import Form, Molecules
from tests.given.few_molecules import FewMolecules, network

Graph = dict[str, Array]
SPEC = FewMolecules()
FORMS: tuple[Form, ...] = ("dense", "scatter")
NETWORKS = {form: network(form=form) for form in FORMS}
FAST = settings(max_examples=25, deadline=None)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Any graph that a request may hold: loops, and parts that do not hang together; no bond twice."""
    nodes = draw(st.integers(1, 9))
    features = draw(arrays.arrays(np.float32, (nodes, 11), elements=st.integers(0, 9).map(float)))
    ends = st.integers(0, nodes - 1)
    bonds = draw(st.lists(st.tuples(ends, ends), max_size=12, unique=True))
    return {"node_features": features, "edge_index": np.array(bonds, np.int64).reshape(-1, 2).T}


def answer(form: Form, batch: list[Graph]) -> Array:
    """float32 (batch, properties)."""
    inputs = collate(SPEC.inputs, batch)
    with torch.inference_mode():
        return torch.stack(NETWORKS[form](*map(torch.from_numpy, inputs.values())), 1).numpy()


@pytest.mark.parametrize("form", FORMS)
@FAST
@given(batch=st.lists(graphs(), min_size=1, max_size=6), seed=st.integers(0))
def test_permuting_the_atoms_of_a_molecule_changes_nothing(form: Form, batch: list[Graph], seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = []
    for one in batch:
        order = rng.permutation(len(one["node_features"]))
        edges = np.argsort(order)[one["edge_index"]][:, rng.permutation(one["edge_index"].shape[1])]
        shuffled.append({"node_features": one["node_features"][order], "edge_index": edges})
    np.testing.assert_allclose(answer(form, shuffled), answer(form, batch), rtol=1e-4, atol=1e-4)


@FAST
@given(batch=st.lists(graphs(), min_size=1, max_size=6))
def test_both_forms_compute_the_same(batch: list[Graph]) -> None:
    np.testing.assert_allclose(answer("dense", batch), answer("scatter", batch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_a_molecule_alone_is_answered_as_among_64(form: Form, tmp_path: Path) -> None:
    export_module(FewMolecules(form=form), NETWORKS[form], tmp_path / "fp32.onnx")
    session = open_session(tmp_path / "fp32.onnx")
    examples = [inputs for inputs, _ in SPEC.dataset("test")] * 6
    names = [tensor.name for tensor in SPEC.outputs]
    together = session.run(names, collate(SPEC.inputs, examples[:64]))
    for place, example in enumerate(examples[:64]):
        for many, one in zip(together, session.run(names, collate(SPEC.inputs, [example])), strict=True):
            assert abs(many[place] - one[0]) < 1e-5


def test_the_dense_form_answers_bit_for_bit_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    export_module(SPEC, NETWORKS["dense"], tmp_path / "fp32.onnx")
    feed = collate(SPEC.inputs, [inputs for inputs, _ in SPEC.dataset("test")] * 40)
    seen = set()
    for threads in (1, 2):
        session = open_session(tmp_path / "fp32.onnx", threads=threads)
        seen |= {b"".join(array.tobytes() for array in session.run(None, feed)) for _ in range(50)}
    assert len(seen) == 1


def test_a_bond_that_is_sent_twice_is_one_bond_in_the_dense_form() -> None:
    once, _ = SPEC.dataset("test")[0]
    twice = {**once, "edge_index": np.concatenate([once["edge_index"]] * 2, axis=1)}
    np.testing.assert_array_equal(answer("dense", [twice]), answer("dense", [dict(once)]))


def test_a_mean_over_the_atoms_does_not_grow_with_the_molecule() -> None:
    small: Graph = {"node_features": np.ones((1, 11), np.float32), "edge_index": np.zeros((2, 0), np.int64)}
    large: Graph = {"node_features": np.ones((7, 11), np.float32), "edge_index": np.zeros((2, 0), np.int64)}
    module = network(pool="mean")
    inputs = collate(SPEC.inputs, [small, large])
    with torch.inference_mode():
        answers = torch.stack(module(*map(torch.from_numpy, inputs.values())), 1)
    torch.testing.assert_close(answers[0], answers[1])


def test_the_score_is_one_for_truth_and_nothing_for_the_mean() -> None:
    rows = [targets for _, targets in SPEC.dataset("test")]
    truth = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    mean = {name: np.full_like(values, values.mean()) for name, values in truth.items()}
    assert SPEC.score(truth, truth) == pytest.approx(1)
    assert SPEC.score(mean, truth) == pytest.approx(0, abs=1e-6)


def test_a_short_training_learns_and_keeps_the_statistics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LADING_DATA", str(tmp_path / "data"))
    options = [
        "model.molecules=300",
        "trainer.threads=1",
        "model.width=16",
        "model.layers=2",
        "trainer.max_epochs=6",
        "data.batch_size=32",
    ]
    config = compose("models/molecules.py:Molecules", [*options, "logger.wandb=false", "trainer.progress=false"])
    spec = Molecules(molecules=300, width=16, layers=2)
    module, card = load_checkpoint(spec, train(spec, config, tmp_path / "run"))
    np.testing.assert_allclose(module.get_buffer("mean").numpy(), spec.source.statistics[0], rtol=1e-5)
    assert card.metrics["valid/score"] > 0.1
    assert card.data_fingerprint == spec.dataset("train").fingerprint


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_reference_checkpoint_lies_beside_the_model_with_its_run(share: float) -> None:
    spec = load_spec("models/molecules.py:Molecules")
    path = spec.checkpoint(share)
    card = read_card(path)
    assert card is not None
    assert path.stat().st_size <= 2 * 2**20
    assert (card.spec, card.pruning, card.git_dirty) == ("molecules", share, False)
    assert card.command.startswith("lading train models/molecules.py:Molecules")
    assert card.metrics[f"test/{spec.score_name}"] > 0.92
    assert "/tmp" not in path.with_suffix(".run.json").read_text()


@pytest.mark.slow
def test_the_error_of_logp_on_unseen_scaffolds_is_a_tenth_of_the_mean_predictors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LADING_DATA", str(tmp_path))
    spec = load_spec("models/molecules.py:Molecules")
    module, _ = load_checkpoint(spec, spec.checkpoint())
    # The first 2,000 of the 40,000: what is held out of them was held out of the training.
    outputs, targets = evaluate(spec, module, Molecules(molecules=2000).dataset("test"))
    assert error_ratio(outputs["logp"], targets["logp"]) <= 0.1
