"""Models and data that could fool the gates: each check of ``CHECKS`` has at least one cheat here that it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from lading.build.records import BuiltVariant, Verification, require_passed, write_variants
from lading.build.verify import doubts
from lading.build.verify.doubts import CHECKS, Doubt, Evidence
from lading.build.verify.scores import Answers, fingerprint
from lading.build.verify.verify import verify
from lading.errors import DataError, GateRefusedError
from lading.spec import Array, Budget, Evaluated, Example, Quantization, TensorSpec, Variant
from tests.given.onnx_text import parse, save
from tests.given.quick_verify import quick_verify

FP32 = Variant(name="fp32", max_score_drop=0.0, required=True)
OTHER = Variant(name="int8", quantization=Quantization(method="static"))
SIDES = ("left", "middle", "right")
X, SIDE = "float[batch, 3] x", "float[batch, 3] side"
HONEST = "side = Softmax (x)"
NAN = "negative = Neg (x) root = Sqrt (negative) side = Add (x, root)"
INFINITE = "positive = Relu (x) side = Log (positive)"
STILL = "zero = Sub (x, x) side = Softmax (zero)"
STUCK = "large = Constant <value = float[3] {0.0, 0.0, 1000.0}> () side = Add (x, large)"


def examples(seed: int, count: int = 400, labels: Sequence[int] = (0, 1, 2)) -> list[Example]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(count, 3)).astype(np.float32)
    sides = rng.choice(labels, count)
    rows[np.arange(count), sides] += 6
    return [({"x": row}, {"side": np.asarray(side)}) for row, side in zip(rows, sides, strict=True)]


class Sides(Evaluated):
    """Which of three numbers is the largest?"""

    name = "sides"
    inputs = (TensorSpec(name="x", dtype="float32", shape=("batch", 3)),)
    outputs = (TensorSpec(name="side", dtype="float32", shape=("batch", 3), labels=SIDES),)
    variants = (FP32, OTHER)
    budget = Budget(min_score=0.9)

    def __init__(
        self, test: Sequence[Example] = (), train: Sequence[Example] = (), *, wrong: float | str | None = None
    ) -> None:
        self.examples = {"test": list(test or examples(0)), "train": list(train or examples(1))}
        self.wrong = wrong

    def dataset(self, split: str) -> list[Example]:
        return self.examples[split]

    def score(self, outputs: Mapping[str, Array], targets: Mapping[str, Array]) -> float:
        if self.wrong is not None:
            return self.wrong  # type: ignore[return-value]
        return float(np.mean(outputs["side"].argmax(1) == targets["side"]))


@dataclass(frozen=True)
class Cheat:
    """A spec and the graphs of its two variants; who finds it, what becomes of it, and words of the sentence."""

    check: Callable[[Evidence], Iterator[Doubt]]
    outcome: Literal["stops", "refused", "stated"]
    words: str
    spec: Callable[[], Sides] = Sides
    graphs: tuple[str, str] = (HONEST, HONEST)


def with_label(label: int) -> list[Example]:
    return [*examples(0)[:-1], ({"x": np.ones(3, np.float32)}, {"side": np.asarray(label)})]


def lenient() -> Sides:
    spec = Sides()
    spec.budget = Budget()
    return spec


def hopeless() -> Sides:
    spec = Sides()
    spec.budget = Budget(min_score=0.999999)
    spec.examples["test"] += [({"x": row["x"][::-1].copy()}, target) for row, target in examples(2, 50)]
    return spec


def embedded() -> Sides:
    spec = Sides()
    spec.outputs = (TensorSpec(name="side", dtype="float32", shape=("batch", 3), content="embedding"),)
    return spec


CHEATS: dict[str, Cheat] = {
    "a network of NaNs": Cheat(
        doubts.not_finite, "stops", "output 'side' is NaN or infinite in 400 of 400 rows", graphs=(NAN, NAN)
    ),
    "an infinite logarithm": Cheat(doubts.not_finite, "stops", "first in row ", graphs=(INFINITE, HONEST)),
    "a variant of NaNs": Cheat(doubts.not_finite, "refused", "output 'side' is NaN or infinite", graphs=(HONEST, NAN)),
    "an embedding of any length": Cheat(
        doubts.broken_promises, "stops", "output 'side' is no embedding in row 0: its length is", spec=embedded
    ),
    "a constant network": Cheat(
        doubts.constant, "stops", "it gives the same answer (side) for all 400 examples", graphs=(STILL, STILL)
    ),
    "a constant variant": Cheat(
        doubts.constant, "refused", "output 'side' is the same for all 400", graphs=(HONEST, STILL)
    ),
    "a network with one answer": Cheat(
        doubts.one_label,
        "stated",
        "'side' is 'right' for every example of 'test', where 3 labels",
        spec=lenient,
        graphs=(STUCK, HONEST),
    ),
    "a target that is no label": Cheat(
        doubts.wrong_labels,
        "stops",
        "1 targets of 'side' in 'test' are no label, such as 3",
        spec=lambda: Sides(with_label(3)),
    ),
    "a target for what is ignored": Cheat(
        doubts.wrong_labels,
        "stops",
        "are no label, such as -100: its 3 labels are 0 to 2",
        spec=lambda: Sides(with_label(-100)),
    ),
    "labels that are never tested": Cheat(
        doubts.missing_labels,
        "stated",
        "1 of 3 labels of 'side' never occur in 'test' (middle)",
        spec=lambda: Sides(examples(0, labels=(0, 2))),
    ),
    "one example many times": Cheat(
        doubts.repeated, "stated", "360 of 400 examples of 'test' repeat", spec=lambda: Sides(examples(0, 40) * 10)
    ),
    "a score that is NaN": Cheat(
        doubts.no_score, "stops", "score() returned nan for 'test'", spec=lambda: Sides(wrong=np.nan)
    ),
    "a score that is infinite": Cheat(
        doubts.no_score, "stops", "score() returned inf for 'test'", spec=lambda: Sides(wrong=np.inf)
    ),
    "a score that is no number": Cheat(
        doubts.no_score, "stops", "score() returned nan for 'test'", spec=lambda: Sides(wrong="good")
    ),
    "a model below its budget": Cheat(doubts.below_budget, "stops", "is below the minimum of 1.0000", spec=hopeless),
    "the training data as test": Cheat(
        doubts.shared,
        "stops",
        "400 of 400 examples of 'test' are among the 400 training examples",
        spec=lambda: Sides(examples(0), examples(0)),
    ),
    "a tenth of the test trained on": Cheat(
        doubts.shared,
        "stops",
        "40 of 400 examples of 'test' are among the 440 training examples",
        spec=lambda: Sides(examples(0), [*examples(1), *examples(0)[:40]]),
    ),
    "one test example trained on": Cheat(
        doubts.shared,
        "stated",
        "1 of 400 examples of 'test' are among the 401 training examples",
        spec=lambda: Sides(examples(0), [*examples(1), examples(0)[7]]),
    ),
}


def verified(spec: Sides, graphs: Sequence[str], folder: Path) -> Verification:
    built = []
    for variant, text in zip((FP32, OTHER), graphs, strict=True):
        file = save(parse(text, X, SIDE), folder / f"{variant.name}.onnx")
        built.append(BuiltVariant(variant=variant, file=file.name, precision=variant.name))
    write_variants(folder, built)
    with quick_verify():
        return verify(spec, folder, folder / "out")


@pytest.mark.parametrize("name", CHEATS)
def test_a_cheat_stops_the_build_is_refused_or_is_stated(name: str, tmp_path: Path) -> None:
    cheat = CHEATS[name]
    verification = verified(cheat.spec(), cheat.graphs, tmp_path)
    assert Verification.load(tmp_path / "out") == verification, "what is not finite cannot be read back"
    fp32, other = verification.variants
    said = {"stops": fp32.reasons, "refused": other.reasons, "stated": verification.notes}[cheat.outcome]
    assert any(cheat.words in sentence for sentence in said), said
    if cheat.outcome == "stops":
        assert all(entry.measurement is None for entry in verification.variants), "nothing is timed"
        assert verification.chosen is None
        with pytest.raises(GateRefusedError):
            require_passed(verification)
    else:
        assert fp32.measurement is not None


def test_every_check_finds_a_cheat() -> None:
    assert {cheat.check for cheat in CHEATS.values()} == set(CHECKS)


def test_an_honest_model_has_no_doubts(tmp_path: Path) -> None:
    verification = verified(Sides(), (HONEST, HONEST), tmp_path)
    assert verification.notes == ()
    assert verification.variants[0].passed
    found = verification.variants[1].measurement
    assert found is not None
    assert found.score_drop is not None
    assert found.score_drop.value == 0 < found.score_drop.high < 0.01


def test_a_split_that_is_too_small_for_the_budget_refuses_a_variant_and_says_what_would_suffice(tmp_path: Path) -> None:
    verification = verified(Sides(examples(0, 100)), (HONEST, HONEST), tmp_path)
    (why,) = [reason for reason in verification.variants[1].reasons if "score" in reason]
    assert why.startswith("its score is 0.0000 below fp32 (95 % interval -0.03")
    assert "100 examples of 'test' are too few" in why
    assert "about 370 examples would suffice" in why
    assert verified(Sides(examples(0, 380)), (HONEST, HONEST), tmp_path).variants[1].measurement is not None


def test_repeating_the_test_split_does_not_make_it_larger(tmp_path: Path) -> None:
    reasons = verified(Sides(examples(0, 100) * 4), (HONEST, HONEST), tmp_path).variants[1].reasons
    assert any("100 examples of 'test' are too few" in reason for reason in reasons)


def test_few_possible_inputs_may_be_shared_where_the_budget_says_so(tmp_path: Path) -> None:
    spec = Sides(examples(0), examples(0))
    spec.budget = Budget(max_shared=1.0)
    verification = verified(spec, (HONEST, HONEST), tmp_path)
    assert verification.variants[0].passed
    assert "400 of 400 examples of 'test' are among" in verification.notes[0]


def test_training_examples_that_take_long_are_compared_in_part_and_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doubts, "SECONDS", 0.0)
    (note,) = verified(Sides(), (HONEST, HONEST), tmp_path).notes
    assert "is among the 0 of 400 training examples that were compared" in note


def test_a_copied_split_is_found_among_a_part_of_the_training_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubts, "MOST_READ", 160)
    spec = Sides(examples(0, 40), [*examples(1, 760), *examples(0, 40)])
    evidence = examine_only_shared(spec)
    assert "are among the 160 of 800 training examples that were compared" in evidence[0].sentence
    assert evidence[0].variant == "fp32"


def test_training_examples_that_cannot_be_read_are_stated() -> None:
    class Gone(Sides):
        def dataset(self, split: str) -> list[Example]:
            if split == "train":
                raise DataError("the disk is not there")
            return super().dataset(split)

    (doubt,) = examine_only_shared(Gone())
    assert doubt.variant is None
    assert doubt.sentence.endswith("none was looked for in 'test': the disk is not there")


def examine_only_shared(spec: Sides) -> list[Doubt]:
    test = spec.dataset("test")
    prints = tuple(fingerprint(spec.inputs, given) for given, _ in test)
    return list(doubts.shared(Evidence(spec, "fp32", {"test": Answers({"fp32": {}}, {}, len(test), prints)})))


def test_an_empty_test_split_is_told_before_anything_is_scored(tmp_path: Path) -> None:
    spec = Sides()
    spec.examples["test"] = []
    with pytest.raises(DataError, match="the split 'test' of sides is empty"):
        verified(spec, (HONEST, HONEST), tmp_path)
