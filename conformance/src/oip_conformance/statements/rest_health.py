"""Liveness and readiness over REST."""

from __future__ import annotations

from typing import Any

from oip_conformance import sections as at
from oip_conformance.rest_client import model_path
from oip_conformance.statement import REST, Level, Skipped, require, shown, statement
from oip_conformance.subject import NO_MODEL, NO_VERSION, Subject

LIVE, READY = "v2/health/live", "v2/health/ready"


@statement(Level.MUST, at.REST_PATHS, [REST])
def live(subject: Subject) -> None:
    """GET v2/health/live answers 200 while the server is live."""
    subject.rest.get(LIVE).require_status(200)


@statement(Level.SHOULD, at.REST_SERVER_LIVE, [REST])
def live_body(subject: Subject) -> None:
    """The body of v2/health/live is an object with the boolean `live`, true when the status is 200.

    The text shows the object; its OpenAPI document has no body.
    """
    _boolean(subject.rest.get(LIVE).object(), "live")


@statement(Level.MUST, at.REST_PATHS, [REST])
def ready(subject: Subject) -> None:
    """GET v2/health/ready answers 200 while the server is ready."""
    subject.rest.get(READY).require_status(200)


@statement(Level.SHOULD, at.REST_SERVER_READY, [REST])
def ready_body(subject: Subject) -> None:
    """The body of v2/health/ready is an object with a boolean: `ready`, or `live` as the text's example has it."""
    _boolean(subject.rest.get(READY).object(), "ready", "live")


@statement(Level.MUST, at.REST_PATHS, [REST])
def model_ready(subject: Subject) -> None:
    """GET v2/models/NAME/ready answers 200 while the model is ready."""
    subject.rest.get(f"{subject.path}/ready").require_status(200)


@statement(Level.SHOULD, at.REST_MODEL_READY, [REST])
def model_ready_name(subject: Subject) -> None:
    """The body of a model's ready call has the model's `name`."""
    name = subject.rest.get(f"{subject.path}/ready").object().get("name")
    require(name == subject.model, f"`name` is {shown(name)}, not {subject.model!r}")


@statement(Level.SHOULD, at.REST_MODEL_READY, [REST])
def model_ready_body(subject: Subject) -> None:
    """The body of a model's ready call has the boolean `ready`, true when the status is 200."""
    _boolean(subject.rest.get(f"{subject.path}/ready").object(), "ready")


@statement(Level.MUST, at.REST_PATHS, [REST])
def model_version_ready(subject: Subject) -> None:
    """A model's ready call takes each version that the metadata list."""
    if not subject.metadata.versions:
        raise Skipped("the model lists no versions")
    for version in subject.metadata.versions:
        subject.rest.get(f"{model_path(subject.model, version)}/ready").require_status(200)


@statement(Level.MUST, at.REST_PROBES, [REST])
def unknown_model_is_not_ready(subject: Subject) -> None:
    """A model that was not loaded is not ready: the call has an HTTP error status, or `ready` is false."""
    _not_ready(subject, f"{model_path(NO_MODEL)}/ready")


@statement(Level.MUST, at.REST_PROBES, [REST])
def unknown_version_is_not_ready(subject: Subject) -> None:
    """A version that does not exist is not ready: the call has an HTTP error status, or `ready` is false."""
    _ = subject.version
    _not_ready(subject, f"{model_path(subject.model, NO_VERSION)}/ready")


@statement(Level.MUST, at.REST_PATHS, [REST])
def ready_includes_the_model(subject: Subject) -> None:
    """A server that is ready has all models ready, so this one too."""
    if subject.rest.get(READY).status != 200:
        raise Skipped("the server is not ready")
    answer = subject.rest.get(f"{subject.path}/ready")
    content = answer.json() if answer.body else {}
    said = content.get("ready", True) if isinstance(content, dict) else True
    require(answer.status == 200 and said is not False, f"the server is ready, and the model answers {answer.status}")


def _boolean(content: dict[str, Any], *names: str) -> None:
    found = [content[name] for name in names if name in content]
    wanted = " or ".join(f"`{name}`" for name in names)
    require(found, f"the body has no {wanted}: {shown(content)}")
    require(found[0] is True, f"the status is 200 and {wanted} is {shown(found[0])}")


def _not_ready(subject: Subject, path: str) -> None:
    answer = subject.rest.get(path)
    if answer.status < 400:
        said = answer.object().get("ready")
        require(said is False, f"GET {path} answers {answer.status} with `ready` {shown(said)}")
