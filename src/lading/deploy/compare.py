"""Send the same inputs to two artifacts or servers: do they agree, and which is faster?"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from lading.artifact import Artifact
from lading.artifact.manifest import Ratio, Timing
from lading.build.verify.timing import Plan, measure, ratio, timing
from lading.errors import DataError, SettingsError
from lading.predictor import Predictor
from lading.protocol.client import ANYONE, Access, Client
from lading.spec import Array, Frozen, TensorSpec
from lading.tensors.agreement import agreement, difference

PLAN = Plan(rounds=15, turn_ms=40.0)
Ask = Callable[[Mapping[str, Array]], dict[str, Array]]


class Comparison(Frozen):
    """The result, as in the JSON file."""

    a: str
    b: str
    rows: int
    """Rows of the inputs that both got."""
    agreement: float
    """Share of rows on which every output agrees: the same most likely label, or a value close to A's, 0 to 1."""
    max_difference: float
    """Largest absolute difference over all outputs."""
    timings: tuple[Timing, Timing]
    """Time of one request to A and to B."""
    speedup: Ratio
    """A over B: above 1 when B is faster."""


@dataclass(frozen=True)
class Side:
    """A or B."""

    name: str
    ask: Ask
    artifact: Artifact | None


def compare(
    a: str,
    b: str,
    inputs: Path | None,
    variants: tuple[str | None, str | None],
    plan: Plan = PLAN,
    *,
    access: Access = ANYONE,
) -> Comparison:
    """Send both the same inputs, and time them in interleaved rounds.

    Args:
        a: artifact folder, or the address of a server: ``http://host:port`` or ``https://host:port``.
        b: same as ``a``.
        inputs: artifact whose golden inputs are sent; default: A, or B if only B is an artifact.
        variants: of A and B, if they are artifacts.
        plan: how long to measure.
        access: key and certificate of the servers.

    Raises:
        SettingsError: there are no inputs, or the file of keys or the certificate cannot be used.
        ClientError: a server does not answer, or refuses.
        DataError: the two have different outputs.
    """
    with ExitStack() as opened:
        sides = [_side(target, variant, access, opened) for target, variant in zip((a, b), variants, strict=True)]
        return _compare(sides, inputs, plan)


def _compare(sides: list[Side], inputs: Path | None, plan: Plan) -> Comparison:
    known = [side.artifact for side in sides if side.artifact]
    source = Artifact.load(inputs) if inputs else next(iter(known), None)
    if source is None:
        raise SettingsError("neither A nor B is an artifact: name one with --inputs, to send its golden inputs")
    specs = source.manifest.outputs
    asked = source.golden_inputs()
    answers = [side.ask(asked) for side in sides]
    for side, answer in zip(sides, answers, strict=True):
        _refuse_others(side, specs, answer, answers[0])
    one = _first(source.manifest.inputs, asked)
    samples = measure({"a": lambda: sides[0].ask(one), "b": lambda: sides[1].ask(one)}, plan)
    return Comparison(
        a=sides[0].name,
        b=sides[1].name,
        rows=len(answers[0][specs[0].name]),
        agreement=agreement(specs, *answers),
        max_difference=difference(specs, *answers),
        timings=(timing(samples["a"], batch=1, threads=1), timing(samples["b"], batch=1, threads=1)),
        speedup=ratio(samples["a"], samples["b"]),
    )


def comparison_table(comparison: Comparison) -> Table:
    table = Table("", "p50 ms", "p90 ms", "p99 ms", title=f"{comparison.rows} rows sent to both")
    for name, one in zip((comparison.a, comparison.b), comparison.timings, strict=True):
        table.add_row(name, f"{one.p50_ms:.3f}", f"{one.p90_ms:.3f}", f"{one.p99_ms:.3f}")
    found = comparison.speedup
    table.caption = (
        f"agreement {comparison.agreement:.2%}, largest difference {comparison.max_difference:.3g}; "
        f"B is {found.value:.2f} times as fast as A (95 % interval {found.low:.2f} to {found.high:.2f})"
    )
    return table


def _side(target: str, variant: str | None, access: Access, opened: ExitStack) -> Side:
    if target.startswith(("http://", "https://")):
        # One open connection, so that no handshake is timed.
        return Side(target, opened.enter_context(Client(target, access=access)).predict, None)
    artifact = Artifact.load(target)
    predictor = Predictor(artifact, variant)
    return Side(f"{target} ({predictor.packed.variant.name})", predictor, artifact)


def _refuse_others(
    side: Side, specs: tuple[TensorSpec, ...], answer: Mapping[str, Array], first: Mapping[str, Array]
) -> None:
    for spec in specs:
        if spec.name not in answer:
            raise DataError(f"{side.name} has no output {spec.name!r}: compare models with the same outputs")
        shape, other = answer[spec.name].shape, first[spec.name].shape
        if shape != other:
            raise DataError(
                f"the output {spec.name!r} of {side.name} has shape {list(shape)}, that of the other side {list(other)}"
            )


def _first(specs: tuple[TensorSpec, ...], inputs: dict[str, Array]) -> dict[str, Array]:
    """The first row of batched inputs. Ragged inputs stay whole."""
    if all(spec.batched for spec in specs):
        return {name: array[:1] for name, array in inputs.items()}
    return inputs
