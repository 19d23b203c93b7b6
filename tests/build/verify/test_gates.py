"""What may be served: each rule with the sentence that a user reads."""

from __future__ import annotations

import pytest

from lading.artifact.manifest import Measurement, Ratio, ScoreDrop, Timing
from lading.build.verify.gates import Candidate, choose, judge
from lading.spec import Budget, Quantization, Variant

FP32 = Variant(name="fp32", max_score_drop=0.0)
INT8 = Variant(name="int8", quantization=Quantization(method="static"), max_score_drop=0.01)
FP16 = Variant(name="fp16", quantization=Quantization(method="fp16"), device="gpu")


def measured(
    score: float = 0.97,
    speedup: tuple[float, float, float] = (2.0, 1.9, 2.1),
    *,
    mib: float = 2.0,
    p99: float = 5.0,
    round_ms: tuple[float, ...] = (4.0, 4.1, 3.9),
    within: float = 0.0,
) -> Measurement:
    """With a drop from 0.97 that is known to within some number."""
    value, low, high = speedup
    drop = round(0.97 - score, 6)
    return Measurement(
        scores={"test": score, "other": 0.1},
        score_drop=ScoreDrop(
            value=drop, low=drop - within, high=drop + within, examples=2500, loss_deviation=0.1, largest_loss=1.0
        ),
        agreement=0.99,
        max_difference=0.1,
        size_bytes=int(mib * 2**20),
        timings=(Timing(batch=1, threads=1, p50_ms=4, p90_ms=4.5, p99_ms=p99, low_ms=3.9, high_ms=4.1, runs=100),),
        speedup=Ratio(value=value, low=low, high=high),
        peak_memory_bytes=10,
        round_ms=round_ms,
    )


REFERENCE = measured(0.97, (1.0, 1.0, 1.0))


@pytest.mark.parametrize(
    ("variant", "found", "budget", "reason"),
    [
        (INT8, measured(0.909), Budget(), "score 0.9090 is 0.0610 below fp32 (0.9700) (95 % interval"),
        (
            INT8,
            measured(0.962, within=0.004),
            Budget(),
            "its score is 0.0080 below fp32 (95 % interval 0.0040 to 0.0120), and 2,500 examples of 'test' are too few "
            "to show that it is at most the 0.0100 allowed: about 14,000 examples would suffice",
        ),
        (INT8, measured(0.96, within=0.004), Budget(), "its score is 0.0100 below fp32"),
        (
            INT8,
            measured().model_copy(update={"score_drop": None}),
            Budget(),
            "its score was not compared with that of fp32",
        ),
        (INT8, measured(speedup=(0.5, 0.4, 0.6)), Budget(), "slower than fp32: 0.50 times as fast as fp32"),
        (INT8, measured(speedup=(1.05, 0.98, 1.1)), Budget(), "not faster than fp32 beyond noise: 1.05 times"),
        (INT8, measured(), Budget(min_speedup=3), "it is 2.00 times as fast as fp32"),
        (INT8, measured(mib=9.5), Budget(max_size_mib=8), "its file of 9.5 MiB is larger than the 8.0 MiB allowed"),
        (INT8, measured(p99=12.5), Budget(max_latency_ms=10), "its p99 of 12.50 ms is above the 10.00 ms allowed"),
        (FP32, REFERENCE, Budget(min_score=0.98), "score 0.9700 is below the minimum of 0.9800"),
        (FP16, measured(), Budget(), "it is built for GPUs, and is never chosen on a CPU"),
    ],
)
def test_a_variant_outside_its_budget_is_refused_in_one_sentence(
    variant: Variant, found: Measurement, budget: Budget, reason: str
) -> None:
    (why,) = judge(Candidate(variant, found), REFERENCE, budget, "test")
    assert why.startswith(reason)


@pytest.mark.parametrize("score", [0.97, 0.96, 0.99])
def test_a_variant_within_its_budget_passes(score: float) -> None:
    assert judge(Candidate(INT8, measured(score)), REFERENCE, Budget(min_score=0.5, max_size_mib=3), "test") == ()


def test_every_reason_is_given_not_only_the_first() -> None:
    found = measured(0.5, (0.5, 0.4, 0.6), mib=100)
    assert len(judge(Candidate(INT8, found), REFERENCE, Budget(max_size_mib=1), "test")) == 3


def test_fp32_need_not_be_faster_than_itself() -> None:
    assert judge(Candidate(FP32, REFERENCE), REFERENCE, Budget(), "test") == ()


def test_what_could_not_be_built_or_was_not_measured_is_refused() -> None:
    assert judge(Candidate(INT8, None, "no kernel for Foo"), REFERENCE, Budget(), "test") == ("no kernel for Foo",)
    assert judge(Candidate(INT8, None), REFERENCE, Budget(), "test") == ("it was not measured",)


def chosen(*entries: tuple[str, Measurement, tuple[str, ...]]) -> str | None:
    candidates = [Candidate(Variant(name=name, pruning=0.1), found) for name, found, _ in entries]
    return choose(candidates, [reasons for _, _, reasons in entries], "test")


def test_the_fastest_that_passed_is_chosen() -> None:
    slow = measured(speedup=(2, 1.9, 2.1), round_ms=(4.0, 4.1, 3.9))
    fast = measured(speedup=(4, 3.9, 4.1), round_ms=(2.0, 2.1, 1.9))
    assert chosen(("a", slow, ()), ("b", fast, ())) == "b"
    assert chosen(("a", slow, ()), ("b", fast, ("refused",))) == "a"
    assert chosen(("a", slow, ("refused",))) is None


def test_among_those_as_fast_within_noise_the_best_score_wins_then_batches_then_the_smallest_file() -> None:
    worse = measured(0.960, (4.0, 3.8, 4.2))
    better = measured(0.969, (3.9, 3.7, 4.1))
    smaller = measured(0.969, (3.9, 3.7, 4.1), mib=1)
    assert chosen(("worse", worse, ()), ("better", better, ())) == "better"
    assert chosen(("better", better, ()), ("smaller", smaller, ())) == "smaller"
    alone = better.timings[0]
    eight = (alone, alone.model_copy(update={"batch": 8, "p50_ms": 20.0}))
    slow = (alone, alone.model_copy(update={"batch": 8, "p50_ms": 30.0}))
    batched, unbatched = (one.model_copy(update={"timings": t}) for one, t in ((better, eight), (smaller, slow)))
    assert chosen(("smaller", unbatched, ()), ("better", batched, ())) == "better"


def test_a_variant_that_every_round_shows_to_be_slower_is_not_level_however_much_fp32_swayed() -> None:
    slower = measured(0.9547, (1.22, 1.0, 1.5), round_ms=(2.6, 5.1, 2.7, 3.9, 2.5))
    faster = measured(0.9542, (1.40, 1.1, 1.8), round_ms=(2.1, 4.2, 2.2, 3.1, 2.1))
    assert chosen(("slower", slower, ()), ("faster", faster, ())) == "faster"
