"""Triton's statistics: what a model has done since the server started, over REST and gRPC."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from oip_conformance import sections as at
from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.rest_client import model_path
from oip_conformance.sections import STATISTICS
from oip_conformance.statement import GRPC, REST, Check, Level, Section, Skipped, require, shown, statement
from oip_conformance.subject import NO_MODEL, NO_VERSION, Subject

DURATIONS = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
COUNTS = ("last_inference", "inference_count", "execution_count")
BATCH_DURATIONS = ("compute_input", "compute_infer", "compute_output")
ROWS = 3


def over(side: str, section: Section, level: Level = Level.MUST) -> Callable[[Check], Check]:
    """A statement of this extension."""
    return statement(level, section, [side], extension=STATISTICS)


@statement(Level.SHOULD, at.REST_SERVER_METADATA, [REST])
def listed(subject: Subject) -> None:
    """A server that answers statistics lists `statistics` in its extensions."""
    answer = subject.rest.get(f"{subject.path}/stats")
    if answer.status != 200:
        raise Skipped("the server has no statistics")
    require(STATISTICS in subject.listed, f"statistics are answered, and `extensions` is {sorted(subject.listed)}")


@over(REST, at.STATS)
def of_a_model(subject: Subject) -> None:
    """GET v2/models/NAME/stats answers 200 with the list `model_stats`."""
    require(_models(subject, f"{subject.path}/stats"), "`model_stats` is empty")


@over(REST, at.STATS)
def name(subject: Subject) -> None:
    """The statistics of a model have its `name`, and no other model's."""
    names = {entry.get("name") for entry in _models(subject, f"{subject.path}/stats")}
    require(names == {subject.model}, f"the names are {shown(names)}")


@over(REST, at.STATS)
def version(subject: Subject) -> None:
    """`version` is left out, or is one of the model's versions."""
    for entry in _models(subject, f"{subject.path}/stats"):
        got = entry.get("version")
        known = subject.metadata.versions
        require(got is None or (isinstance(got, str) and (not known or got in known)), f"`version` is {shown(got)}")


@over(REST, at.STATS_OVERVIEW)
def of_all_models(subject: Subject) -> None:
    """GET v2/models/stats has the statistics of all models."""
    names = {entry.get("name") for entry in _models(subject, "v2/models/stats")}
    require(subject.model in names, f"the names are {shown(names)}, without {subject.model!r}")


@over(REST, at.STATS_OVERVIEW)
def of_a_version(subject: Subject) -> None:
    """GET v2/models/NAME/versions/VERSION/stats has the statistics of this version alone."""
    entries = _models(subject, f"{model_path(subject.model, subject.version)}/stats")
    versions = {entry.get("version") for entry in entries}
    require(versions <= {subject.version, None} and entries, f"the versions are {shown(versions)}")


@over(REST, at.STATS)
def counts_are_numbers(subject: Subject) -> None:
    """`last_inference`, `inference_count` and `execution_count` are numbers."""
    for entry in _models(subject, f"{subject.path}/stats"):
        for field in COUNTS:
            require(type(entry.get(field)) is int, f"`{field}` is {shown(entry.get(field))}")


@over(REST, at.STATS)
def durations(subject: Subject) -> None:
    """`inference_stats` has a count and nanoseconds for success, fail, queue and the three parts of computing."""
    for entry in _models(subject, f"{subject.path}/stats"):
        _require_durations(entry.get("inference_stats"), DURATIONS)


@over(REST, at.STATS)
def batches(subject: Subject) -> None:
    """`batch_stats` is a list with the size of each batch that was executed, and its durations."""
    subject.rest_infer(subject.rest_request()).require_status(200)
    for entry in _models(subject, f"{subject.path}/stats"):
        listed_batches = entry.get("batch_stats")
        require(isinstance(listed_batches, list), f"`batch_stats` is {shown(listed_batches)}")
        for batch in listed_batches or []:
            require(type(batch.get("batch_size")) is int, f"`batch_size` is {shown(batch.get('batch_size'))}")
            _require_durations(batch, BATCH_DURATIONS)


@over(REST, at.STATS)
def inferences_are_counted(subject: Subject) -> None:
    """`inference_count` grows by the number of rows of a request, `success` by one."""
    inputs = subject.of_batch(ROWS)
    before = _entry(subject)
    subject.rest_infer(subject.rest_request(inputs)).require_status(200)
    after = _entry(subject)
    grown = after["inference_count"] - before["inference_count"]
    require(grown >= ROWS, f"a request of {ROWS} rows, and `inference_count` grows by {grown}")
    counted = _count(after, "success") - _count(before, "success")
    require(counted >= 1, f"a request, and the count of `success` grows by {counted}")
    require(counted < grown, f"`success` grows by {counted} and `inference_count` by {grown}, for {ROWS} rows")


@over(REST, at.STATS)
def executions_are_counted(subject: Subject) -> None:
    """`execution_count` grows with a request, by no more than the number of its rows."""
    before = _entry(subject)
    subject.rest_infer(subject.rest_request()).require_status(200)
    grown = _entry(subject)["execution_count"] - before["execution_count"]
    require(grown >= 1, f"a request, and `execution_count` grows by {grown}")


@over(REST, at.STATS)
def failures_are_counted(subject: Subject) -> None:
    """A refused request is no success: `inference_count` and the count of `success` stay as they are."""
    before = _entry(subject)
    wrong = subject.rest_request()
    wrong["inputs"][0]["data"] = wrong["inputs"][0]["data"][:-1]
    subject.rest_infer(wrong).require_refused("too few values")
    after = _entry(subject)
    grown = after["inference_count"] - before["inference_count"], _count(after, "success") - _count(before, "success")
    require(grown == (0, 0), f"a refused request, and `inference_count` and `success` grow by {grown}")


@over(REST, at.STATS)
def time_of_the_last_inference(subject: Subject) -> None:
    """`last_inference` is the time of the last request, in milliseconds since 1970."""
    start = time.time()
    subject.rest_infer(subject.rest_request()).require_status(200)
    last = _entry(subject)["last_inference"]
    hour = 3600.0  # the clocks of both machines may differ
    require(abs(last / 1000 - start) < hour, f"`last_inference` is {last}, and now is {start * 1000:.0f}")


@over(REST, at.STATS)
def durations_grow(subject: Subject) -> None:
    """The nanoseconds of `success` grow with a request."""
    before = _entry(subject)["inference_stats"]["success"]["ns"]
    subject.rest_infer(subject.rest_request()).require_status(200)
    after = _entry(subject)["inference_stats"]["success"]["ns"]
    require(after > before, f"a request, and the nanoseconds of `success` are {before} and {after}")


@over(REST, at.STATS_ERROR)
def of_an_unknown_model(subject: Subject) -> None:
    """Statistics of a model that does not exist have an HTTP error status and the string `error`."""
    subject.rest.get(f"{model_path(NO_MODEL)}/stats").require_error_object("an unknown model")


@over(REST, at.STATS_ERROR)
def of_an_unknown_version(subject: Subject) -> None:
    """Statistics of a version that does not exist have an HTTP error status."""
    _ = subject.version
    subject.rest.get(f"{model_path(subject.model, NO_VERSION)}/stats").require_refused("an unknown version")


@over(GRPC, at.STATS_GRPC)
def grpc_of_a_model(subject: Subject) -> None:
    """gRPC: ModelStatistics answers OK with the statistics of the model, and of no other."""
    names = {entry.name for entry in subject.grpc.statistics(subject.model).ok().model_stats}
    require(names == {subject.model}, f"the names are {shown(names)}")


@over(GRPC, at.STATS_GRPC)
def grpc_of_all_models(subject: Subject) -> None:
    """gRPC: without a name, ModelStatistics has the statistics of all models."""
    names = {entry.name for entry in subject.grpc.statistics().ok().model_stats}
    require(subject.model in names, f"the names are {shown(names)}, without {subject.model!r}")


@over(GRPC, at.STATS_GRPC)
def grpc_inferences_are_counted(subject: Subject) -> None:
    """gRPC: `inference_count` grows by the number of rows of a call, `success` by one."""
    inputs = subject.of_batch(ROWS)
    before = _grpc_entry(subject)
    subject.grpc.infer(subject.grpc_request(inputs)).ok()
    after = _grpc_entry(subject)
    grown = after.inference_count - before.inference_count
    require(grown >= ROWS, f"a call of {ROWS} rows, and `inference_count` grows by {grown}")
    counted = after.inference_stats.success.count - before.inference_stats.success.count
    require(1 <= counted < grown, f"a call, and the count of `success` grows by {counted}")


@over(GRPC, at.STATS_GRPC)
def grpc_of_an_unknown_model(subject: Subject) -> None:
    """gRPC: statistics of a model that does not exist have an error status."""
    subject.grpc.statistics(NO_MODEL).require_refused("an unknown model")


@statement(Level.SHOULD, at.STATS_OVERVIEW, [REST, GRPC], extension=STATISTICS)
def the_same_over_both(subject: Subject) -> None:
    """The statistics are all activity of the model: REST and gRPC have the same counts."""
    one, two = _entry(subject), _grpc_entry(subject)
    over_rest = (one["inference_count"], one["execution_count"], _count(one, "success"))
    over_grpc = (two.inference_count, two.execution_count, two.inference_stats.success.count)
    require(over_rest == over_grpc, f"REST says {over_rest}, and gRPC {over_grpc}")


def _models(subject: Subject, path: str) -> list[dict[str, Any]]:
    listed_models = subject.rest.get(path).object().get("model_stats")
    objects = isinstance(listed_models, list) and all(isinstance(entry, dict) for entry in listed_models)
    require(objects, f"`model_stats` is {shown(listed_models)}, not a list of objects")
    return list(listed_models or [])


def _entry(subject: Subject) -> dict[str, Any]:
    """The statistics of the version that answers."""
    entries = _models(subject, f"{subject.path}/stats")
    require(entries, "`model_stats` is empty")
    last = max(entries, key=lambda entry: entry.get("last_inference") or 0)
    for field in COUNTS:
        require(type(last.get(field)) is int, f"`{field}` is {shown(last.get(field))}")
    _require_durations(last.get("inference_stats"), DURATIONS[:1])
    return last


def _grpc_entry(subject: Subject) -> pb.ModelStatistics:
    entries = subject.grpc.statistics(subject.model).ok().model_stats
    require(entries, "`model_stats` is empty")
    last: pb.ModelStatistics = max(entries, key=lambda entry: entry.last_inference)
    return last


def _count(entry: dict[str, Any], name: str) -> int:
    return int(entry["inference_stats"][name]["count"])


def _require_durations(holder: Any, names: tuple[str, ...]) -> None:
    require(isinstance(holder, dict), f"the durations are {shown(holder)}")
    for each in names:
        duration = holder.get(each)
        whole = isinstance(duration, dict) and all(type(duration.get(field)) is int for field in ("count", "ns"))
        require(whole, f"`{each}` is {shown(duration)}, not an object with `count` and `ns`")
