"""What could fool the gates: answers, scores and test splits that say less than they seem to.

``CHECKS`` at the end is the only list of them. A check names the variant to refuse, or none: then its sentence is
written into the artifact. Refusing the fp32 variant stops the build, because all others are compared with it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lading.answers import broken_promise
from lading.build.examples import read_example
from lading.build.verify.drop import TAIL
from lading.build.verify.gates import below_minimum
from lading.build.verify.scores import Answers, fingerprint
from lading.errors import LadingError
from lading.spec import Array, Evaluated, TensorSpec

SECONDS = 5.0
"""Most seconds that training examples are read for, to look for those of the test split."""
MOST_READ = 1_000_000
"""Most training examples that are read for it."""
CONSTANT = 8
"""Range of a number over all examples up to which it is called constant, in rounding errors of its largest value."""
_NAMED = 8  # labels that a sentence names


@dataclass(frozen=True)
class Doubt:
    """One sentence, and the variant that it refuses; without a variant it is only stated."""

    sentence: str
    variant: str | None = None


@dataclass
class Evidence:
    """What the checks look at, and the variants that they have refused so far, with sentences."""

    spec: Evaluated
    reference: str
    answers: Mapping[str, Answers]
    """By test split; the gates use the first."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def split(self) -> str:
        return self.spec.test_splits[0]

    @property
    def trusted(self) -> list[str]:
        """The variants that no check has refused."""
        return [name for name in self.answers[self.split].outputs if name not in self.refused]

    @cached_property
    def scores(self) -> dict[str, dict[str, float]]:
        """Scores by variant and split. Read only once the outputs are known to be finite: a score may raise on others.

        Not finite where ``score`` did not return one finite number.
        """
        return {
            name: {split: _number(self.spec.score(of.outputs[name], of.targets)) for split, of in self.answers.items()}
            for name in self.trusted
        }

    def finite_scores(self, name: str) -> dict[str, float]:
        """Scores by split, as far as they are known."""
        known = self.__dict__.get("scores", {}).get(name, {})
        return {split: score for split, score in known.items() if math.isfinite(score)}


def examine(spec: Evaluated, reference: str, answers: Mapping[str, Answers]) -> Evidence:
    """Run all checks, in order, each on the variants that those before it did not refuse."""
    evidence = Evidence(spec, reference, answers)
    for check in CHECKS:
        for doubt in list(check(evidence)):
            if doubt.variant is None:
                evidence.notes.append(doubt.sentence)
            else:
                evidence.refused.setdefault(doubt.variant, []).append(doubt.sentence)
        if reference in evidence.refused:
            break
    return evidence


def not_finite(evidence: Evidence) -> Iterator[Doubt]:
    """NaN or infinite outputs: a client would get an error instead of an answer."""
    for split, answered in evidence.answers.items():
        for name, outputs in answered.outputs.items():
            for output, array in outputs.items():
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    axis = answered.axes.get(output, 0)
                    rows = np.moveaxis(~np.isfinite(array), axis, 0).reshape(array.shape[axis], -1).any(axis=1)
                    yield Doubt(
                        f"output {output!r} is NaN or infinite in {np.sum(rows):,} of {array.shape[axis]:,} rows of "
                        f"{split!r}, first in row {int(np.argmax(rows))}: clients would get no answer to such requests",
                        name,
                    )


def broken_promises(evidence: Evidence) -> Iterator[Doubt]:
    """Outputs that are not what their content says, such as an embedding that is not normalised."""
    for split, answered in evidence.answers.items():
        for name in evidence.trusted:
            why = broken_promise(evidence.spec.outputs, answered.outputs[name])
            if why is not None:
                yield Doubt(f"{why} (of {split!r})", name)


def constant(evidence: Evidence) -> Iterator[Doubt]:
    """Outputs that are the same for all examples, though the examples are not."""
    answered = evidence.answers[evidence.split]
    if len(answered.distinct) < 2:
        return
    names = [tensor.name for tensor in evidence.spec.outputs]
    known = answered.outputs[evidence.reference]
    still = [name for name in names if _constant(known[name], answered.axes.get(name, 0))]
    varied = any(np.any(target != target[:1]) for target in answered.targets.values())
    what = f"for all {answered.examples:,} examples of {evidence.split!r}"
    if len(still) == len(names) and varied:
        yield Doubt(
            f"it gives the same answer ({', '.join(names)}) {what}: its weights are untrained, lost or saturated, or "
            "forward does not use its inputs",
            evidence.reference,
        )
        return
    for name in still:
        yield Doubt(f"output {name!r} is the same {what}")
    for variant in evidence.trusted:
        for name in names:
            if name not in still and _constant(answered.outputs[variant][name], answered.axes.get(name, 0)):
                yield Doubt(f"output {name!r} is the same {what}, and that of {evidence.reference} is not", variant)


def one_label(evidence: Evidence) -> Iterator[Doubt]:
    """Outputs with labels that only ever choose one, where the truths are several."""
    answered = evidence.answers[evidence.split]
    for tensor, truths in _labelled(evidence.spec, answered):
        chosen = np.unique(answered.outputs[evidence.reference][tensor.name].argmax(-1))
        if len(chosen) == 1 and len(np.unique(truths)) > 1 and tensor.labels is not None:
            yield Doubt(
                f"{tensor.name!r} is {tensor.labels[int(chosen[0])]!r} for every example of {evidence.split!r}, where "
                f"{len(np.unique(truths))} labels are true"
            )


def wrong_labels(evidence: Evidence) -> Iterator[Doubt]:
    """Targets that are the index of no label: they can never be answered."""
    for split, answered in evidence.answers.items():
        for tensor, truths in _labelled(evidence.spec, answered):
            count = len(tensor.labels or ())
            strange = truths[(truths < 0) | (truths >= count)].tolist()
            if strange:
                yield Doubt(
                    f"{len(strange):,} targets of {tensor.name!r} in {split!r} are no label, such as {strange[0]}: "
                    f"its {count} labels are 0 to {count - 1}",
                    evidence.reference,
                )


def missing_labels(evidence: Evidence) -> Iterator[Doubt]:
    """Labels that no example of a test split has: nothing is known about them."""
    for split, answered in evidence.answers.items():
        for tensor, truths in _labelled(evidence.spec, answered):
            labels = tensor.labels or ()
            missing = [label for index, label in enumerate(labels) if not (truths == index).any()]
            if missing:
                named = ", ".join(missing[:_NAMED]) + (", ..." if len(missing) > _NAMED else "")
                yield Doubt(
                    f"{len(missing)} of {len(labels)} labels of {tensor.name!r} never occur in {split!r} ({named}): "
                    "how well they are answered is not known"
                )


def repeated(evidence: Evidence) -> Iterator[Doubt]:
    """Test examples that are there several times: they count once in the interval of a score drop."""
    for split, answered in evidence.answers.items():
        if len(answered.distinct) < answered.examples:
            yield Doubt(
                f"{answered.examples - len(answered.distinct):,} of {answered.examples:,} examples of {split!r} repeat "
                "the inputs of another one"
            )


def shared(evidence: Evidence) -> Iterator[Doubt]:
    """Test examples that were trained on: a score on them says how well the model remembers."""
    answered, wanted = evidence.answers[evidence.split], set(evidence.answers[evidence.split].fingerprints)
    found, read, end = list[bytes](), 0, time.monotonic() + SECONDS
    try:
        training = evidence.spec.dataset("train")
        size = len(training)
        for index in np.random.default_rng(0).permutation(size):
            if read == MOST_READ or time.monotonic() > end:
                break
            seen = fingerprint(evidence.spec.inputs, read_example(training, int(index))[0])
            found += [seen] if seen in wanted else []
            read += 1
    except (LadingError, OSError) as error:
        yield Doubt(f"the training examples cannot be read, so none was looked for in {evidence.split!r}: {error}")
        return
    known = set(found)
    both = sum(one in known for one in answered.fingerprints)
    compared = f"{read:,} of {size:,} training examples" if read < size else f"{size:,} training examples"
    what = f"{both:,} of {answered.examples:,} examples of {evidence.split!r}"
    least = float(both)
    if both and read < size:  # the lower end of the interval for all of them
        share = np.random.default_rng(0).beta(len(found), read - len(found) + 1, 4000)
        least = max(least, size * float(np.quantile(share, TAIL)))
    allowed = evidence.spec.budget.max_shared
    if least > allowed * answered.examples:
        yield Doubt(
            f"{what} are among the {compared} that were compared, with the same inputs: its score says how well it "
            f"remembers; at most {allowed:.1%} may be (Budget.max_shared)",
            evidence.reference,
        )
    elif both:
        yield Doubt(f"{what} are among the {compared} that were compared, with the same inputs")
    elif read < size:
        yield Doubt(f"none of the examples of {evidence.split!r} is among the {compared} that were compared")


def no_score(evidence: Evidence) -> Iterator[Doubt]:
    """Scores that are no finite number: every comparison with one would be decided by chance."""
    for name in evidence.trusted:
        for split, score in evidence.scores[name].items():
            if not math.isfinite(score):
                yield Doubt(
                    f"score() returned {score} for {split!r}: return a finite number, also where a class, a row or a "
                    "sum is empty",
                    name,
                )


def below_budget(evidence: Evidence) -> Iterator[Doubt]:
    """An fp32 model that is not good enough, whatever its variants are."""
    for reason in below_minimum(evidence.scores[evidence.reference][evidence.split], evidence.spec.budget):
        yield Doubt(reason, evidence.reference)


def _constant(array: Array, axis: int) -> bool:
    if array.shape[axis] < 2:
        return False
    if array.dtype.kind != "f":
        return bool((array == array.take([0], axis)).all())
    wide, error = array.astype(np.float64), float(np.finfo(array.dtype).eps)
    return bool((np.ptp(wide, axis=axis) <= CONSTANT * error * np.abs(wide).max(axis=axis)).all())


def _labelled(spec: Evaluated, answered: Answers) -> Iterator[tuple[TensorSpec, Array]]:
    """Outputs with labels whose targets are indexes of them, one an example (n,)."""
    for tensor in spec.outputs:
        truths = answered.targets.get(tensor.name)
        if tensor.labels is not None and truths is not None and truths.dtype.kind in "iu" and truths.ndim == 1:
            yield tensor, truths


def _number(score: object) -> float:
    """A score as a float; NaN for what is no number."""
    try:
        return float(score)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


CHECKS: tuple[Callable[[Evidence], Iterator[Doubt]], ...] = (
    not_finite,
    broken_promises,
    constant,
    one_label,
    wrong_labels,
    missing_labels,
    repeated,
    no_score,
    below_budget,
    shared,
)
"""Every check, in order: outputs before scores, and what is quick before what reads the training examples."""
