"""Triton's model repository: index, load and unload, over REST and gRPC."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from oip_conformance import sections as at
from oip_conformance.rest_client import Answer
from oip_conformance.sections import MODEL_REPOSITORY
from oip_conformance.statement import GRPC, REST, Check, Level, Section, Skipped, require, shown, statement
from oip_conformance.subject import NO_MODEL, Subject

INDEX = "v2/repository/index"
READY = "READY"


def over(side: str, section: Section, level: Level = Level.MUST) -> Callable[[Check], Check]:
    """A statement of this extension."""
    return statement(level, section, [side], extension=MODEL_REPOSITORY)


@statement(Level.SHOULD, at.REST_SERVER_METADATA, [REST])
def listed(subject: Subject) -> None:
    """A server that answers the index lists `model_repository` in its extensions."""
    if subject.rest.post(INDEX, {}).status != 200:
        raise Skipped("the server has no index")
    require(MODEL_REPOSITORY in subject.listed, f"the index is answered, and `extensions` is {sorted(subject.listed)}")


@over(REST, at.REPOSITORY_INDEX)
def index(subject: Subject) -> None:
    """POST v2/repository/index answers 200 with a list."""
    _index(subject)


@over(REST, at.REPOSITORY_INDEX)
def index_name(subject: Subject) -> None:
    """Each entry of the index has the `name` of a model, and the model of this run has an entry."""
    names = [entry.get("name") for entry in _index(subject)]
    require(all(isinstance(name, str) for name in names), f"the names are {shown(names)}")
    require(subject.model in names, f"the index names {shown(names)}, and not {subject.model!r}")


@over(REST, at.REPOSITORY_INDEX)
def index_state(subject: Subject) -> None:
    """Each entry of the index has `state`, a string."""
    for entry in _index(subject):
        require(isinstance(entry.get("state"), str), f"`state` is {shown(entry.get('state'))}")


@over(REST, at.REPOSITORY_INDEX)
def index_reason(subject: Subject) -> None:
    """Each entry of the index has `reason`, a string."""
    for entry in _index(subject):
        require(isinstance(entry.get("reason"), str), f"`reason` is {shown(entry.get('reason'))}")


@over(REST, at.REPOSITORY_INDEX)
def index_version(subject: Subject) -> None:
    """`version` of an entry is left out, or is a string."""
    for entry in _index(subject):
        version = entry.get("version")
        require(version is None or isinstance(version, str), f"`version` is {shown(version)}")


@over(REST, at.REPOSITORY_INDEX)
def index_of_ready_models(subject: Subject) -> None:
    """An index with `ready` true has the models that are ready alone, and this one is among them."""
    entries = _index(subject, ready=True)
    states = {entry.get("state") for entry in entries}
    require(states == {READY}, f"the states are {shown(states)}")
    require(subject.model in [entry.get("name") for entry in entries], f"{subject.model!r} is missing")


@over(REST, at.REPOSITORY_INDEX)
def index_that_is_not_json(subject: Subject) -> None:
    """An index request that is not JSON has an HTTP error status and the string `error`."""
    subject.rest.post(INDEX, b"ready=true").require_error_object("a body that is not JSON")


@over(REST, at.REPOSITORY_LOAD)
def load_an_unknown_model(subject: Subject) -> None:
    """Loading a model that does not exist has an HTTP error status and the string `error`."""
    _control(subject, NO_MODEL, "load").require_error_object("loading an unknown model")


@over(REST, at.REPOSITORY_UNLOAD, Level.SHOULD)
def unload_an_unknown_model(subject: Subject) -> None:
    """Unloading a model that does not exist has an HTTP error status and the string `error`."""
    _control(subject, NO_MODEL, "unload").require_error_object("unloading an unknown model")


@over(REST, at.REPOSITORY_LOAD)
def load_again(subject: Subject) -> None:
    """A model that is loaded may be loaded again, and answers after that. The body may be empty."""
    _may_reload(subject)
    _control(subject, subject.model, "load").require_status(200)
    subject.rest_infer(subject.rest_request()).require_status(200)


@over(REST, at.REPOSITORY_UNLOAD)
def unload_and_load(subject: Subject) -> None:
    """A model that is unloaded is not ready, and is ready again when it was loaded."""
    _may_reload(subject)
    ready = f"{subject.path}/ready"
    request = subject.rest_request()
    _control(subject, subject.model, "unload").require_status(200)
    try:
        subject.rest.get(ready).require_refused("a model that was unloaded")
        subject.rest_infer(request).require_refused("a model that was unloaded")
    finally:
        _control(subject, subject.model, "load").require_status(200)
    subject.rest.get(ready).require_status(200)
    subject.rest_infer(request).require_status(200)


@over(GRPC, at.REPOSITORY_GRPC)
def grpc_index(subject: Subject) -> None:
    """gRPC: RepositoryIndex answers OK and has the model of this run, with a state."""
    entries = [entry for entry in subject.grpc.index().ok().models if entry.name == subject.model]
    require(entries, f"the index does not name {subject.model!r}")
    require(all(entry.state for entry in entries), "`state` is empty")


@over(GRPC, at.REPOSITORY_GRPC)
def grpc_index_of_ready_models(subject: Subject) -> None:
    """gRPC: an index with `ready` true has the models that are ready alone, and this one is among them."""
    entries = subject.grpc.index(ready=True).ok().models
    states = {entry.state for entry in entries}
    require(states == {READY}, f"the states are {shown(states)}")
    require(subject.model in [entry.name for entry in entries], f"{subject.model!r} is missing")


@statement(Level.MUST, at.REPOSITORY_GRPC, [REST, GRPC], extension=MODEL_REPOSITORY)
def the_same_over_both(subject: Subject) -> None:
    """REST and gRPC index the same models, with the same states."""
    one = sorted((str(entry.get("name")), str(entry.get("state"))) for entry in _index(subject))
    two = sorted((entry.name, entry.state) for entry in subject.grpc.index().ok().models)
    require(one == two, f"REST says {shown(one)}, and gRPC {shown(two)}")


@over(GRPC, at.REPOSITORY_GRPC)
def grpc_load_an_unknown_model(subject: Subject) -> None:
    """gRPC: loading a model that does not exist has an error status."""
    subject.grpc.load(NO_MODEL).require_refused("loading an unknown model")


@over(GRPC, at.REPOSITORY_GRPC, Level.SHOULD)
def grpc_unload_an_unknown_model(subject: Subject) -> None:
    """gRPC: unloading a model that does not exist has an error status."""
    subject.grpc.unload(NO_MODEL).require_refused("unloading an unknown model")


@over(GRPC, at.REPOSITORY_GRPC)
def grpc_unload_and_load(subject: Subject) -> None:
    """gRPC: a model that is unloaded is not ready, and is ready again when it was loaded."""
    _may_reload(subject)
    request = subject.grpc_request()
    subject.grpc.unload(subject.model).ok()
    try:
        reply = subject.grpc.model_ready(subject.model)
        require(reply.message is None or not reply.message.ready, "a model that was unloaded is ready")
        require(subject.grpc.infer(request).message is None, "a model that was unloaded answers")
    finally:
        subject.grpc.load(subject.model).ok()
    require(subject.grpc.model_ready(subject.model).ok().ready, "the model is not ready after it was loaded")
    subject.grpc.infer(request).ok()


def _index(subject: Subject, **fields: Any) -> list[dict[str, Any]]:
    answer = subject.rest.post(INDEX, fields)
    answer.require_status(200)
    entries = answer.json()
    objects = isinstance(entries, list) and all(isinstance(entry, dict) for entry in entries)
    require(objects, f"the index is {shown(entries)}, not a list of objects")
    return list(entries)


def _control(subject: Subject, model: str, action: str) -> Answer:
    return subject.rest.send("POST", f"v2/repository/models/{quote(model, safe='')}/{action}")


def _may_reload(subject: Subject) -> None:
    if not subject.may_reload:
        raise Skipped("it unloads or loads the model; --may-reload allows it")
