"""Metadata of the server and of a model over REST."""

from __future__ import annotations

import re
from typing import Any

from oip_conformance import sections as at
from oip_conformance.rest_client import Answer, model_path
from oip_conformance.statement import REST, Level, Skipped, require, shown, statement
from oip_conformance.subject import NO_MODEL, NO_VERSION, Subject
from oip_conformance.tensors import DTYPES

PLATFORM = re.compile(r"[^_\s]+_\S+")


@statement(Level.MUST, at.REST_PATHS, [REST])
def server(subject: Subject) -> None:
    """GET v2 answers 200 with a JSON object."""
    subject.rest.get("v2").object()


@statement(Level.SHOULD, at.REST_PATHS, [REST])
def server_with_a_slash(subject: Subject) -> None:
    """GET v2/ is answered as GET v2 is: the OpenAPI document writes the path with a slash."""
    content = subject.rest.get("v2/").object()
    require(content == subject.rest.get("v2").object(), f"GET v2/ answers {shown(content)}, which GET v2 does not")


@statement(Level.SHOULD, at.REST_EXAMPLES, [REST])
def server_content_type(subject: Subject) -> None:
    """Metadata of the server have the content type application/json."""
    _require_json_type(subject.rest.get("v2"))


@statement(Level.MUST, at.REST_SERVER_METADATA, [REST])
def server_name(subject: Subject) -> None:
    """The server's metadata have its `name`, a string."""
    _require_string(subject.rest.get("v2").object(), "name")


@statement(Level.MUST, at.REST_SERVER_METADATA, [REST])
def server_version(subject: Subject) -> None:
    """The server's metadata have its `version`, a string."""
    _require_string(subject.rest.get("v2").object(), "version")


@statement(Level.MUST, at.REST_SERVER_METADATA, [REST])
def server_extensions(subject: Subject) -> None:
    """The server's metadata have `extensions`, a list of strings."""
    _require_strings(subject.rest.get("v2").object(), "extensions")


@statement(Level.SHOULD, at.REST_SERVER_METADATA, [REST])
def server_extensions_once(subject: Subject) -> None:
    """The server lists each extension once."""
    listed = subject.rest.get("v2").object().get("extensions")
    if not listed:
        raise Skipped("the server lists no extension")
    require(len(set(map(str, listed))) == len(listed), f"`extensions` is {shown(listed)}")


@statement(Level.SHOULD, at.REST_SERVER_METADATA_ERROR, [REST])
def server_by_get_only(subject: Subject) -> None:
    """Metadata are read with GET: a DELETE of v2 has an HTTP error status."""
    subject.rest.send("DELETE", "v2").require_refused("a DELETE")


@statement(Level.MUST, at.REST_PATHS, [REST])
def model(subject: Subject) -> None:
    """GET v2/models/NAME answers 200 with a JSON object."""
    subject.rest.get(subject.path).object()


@statement(Level.SHOULD, at.REST_EXAMPLES, [REST])
def model_content_type(subject: Subject) -> None:
    """Metadata of a model have the content type application/json."""
    _require_json_type(subject.rest.get(subject.path))


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def model_name(subject: Subject) -> None:
    """The metadata's `name` is the model's."""
    name = _model(subject).get("name")
    require(name == subject.model, f"`name` is {shown(name)}, not {subject.model!r}")


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def model_versions(subject: Subject) -> None:
    """`versions` is left out, or is a list of strings."""
    content = _model(subject)
    if content.get("versions") is None:
        raise Skipped("the model lists no versions")
    _require_strings(content, "versions")


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def model_platform(subject: Subject) -> None:
    """The metadata have `platform`, a string."""
    platform = _model(subject).get("platform")
    require(isinstance(platform, str), f"`platform` is {shown(platform)}, not a string")


@statement(Level.SHOULD, at.REST_PLATFORMS, [REST])
def model_platform_form(subject: Subject) -> None:
    """The platform is written as project_format."""
    platform = _model(subject).get("platform")
    require(isinstance(platform, str) and PLATFORM.fullmatch(platform), f"`platform` is {shown(platform)}")


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def model_inputs(subject: Subject) -> None:
    """The metadata name the model's inputs."""
    _tensors(subject, "inputs")


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def model_outputs(subject: Subject) -> None:
    """The metadata name the model's outputs."""
    _tensors(subject, "outputs")


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def input_names(subject: Subject) -> None:
    """Each input of the metadata has a `name`, and no two have the same."""
    _require_names(_tensors(subject, "inputs"))


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def output_names(subject: Subject) -> None:
    """Each output of the metadata has a `name`, and no two have the same."""
    _require_names(_tensors(subject, "outputs"))


@statement(Level.MUST, at.REST_DATATYPES, [REST])
def input_datatypes(subject: Subject) -> None:
    """The `datatype` of each input is one of the protocol's."""
    _require_datatypes(_tensors(subject, "inputs"))


@statement(Level.MUST, at.REST_DATATYPES, [REST])
def output_datatypes(subject: Subject) -> None:
    """The `datatype` of each output is one of the protocol's."""
    _require_datatypes(_tensors(subject, "outputs"))


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def input_shapes(subject: Subject) -> None:
    """The `shape` of each input is a list of sizes, where -1 is a variable one."""
    _require_shapes(_tensors(subject, "inputs"))


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def output_shapes(subject: Subject) -> None:
    """The `shape` of each output is a list of sizes, where -1 is a variable one."""
    _require_shapes(_tensors(subject, "outputs"))


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def versions_are_found(subject: Subject) -> None:
    """Each version that the metadata list has metadata of the same model at its own path."""
    if not subject.metadata.versions:
        raise Skipped("the model lists no versions")
    for version in subject.metadata.versions:
        name = subject.rest.get(model_path(subject.model, version)).object().get("name")
        require(name == subject.model, f"version {version!r} has the `name` {shown(name)}")


@statement(Level.MUST, at.REST_MODEL_METADATA_ERROR, [REST])
def unknown_model(subject: Subject) -> None:
    """Metadata of a model that does not exist have an HTTP error status."""
    subject.rest.get(model_path(NO_MODEL)).require_refused("an unknown model")


@statement(Level.MUST, at.REST_MODEL_METADATA_ERROR, [REST])
def unknown_model_error(subject: Subject) -> None:
    """The error about an unknown model is an object with the string `error`."""
    subject.rest.get(model_path(NO_MODEL)).require_error_object("an unknown model")


@statement(Level.MUST, at.REST_MODEL_METADATA_ERROR, [REST])
def unknown_version(subject: Subject) -> None:
    """Metadata of a version that does not exist have an HTTP error status."""
    _ = subject.version
    subject.rest.get(model_path(subject.model, NO_VERSION)).require_refused("an unknown version")


@statement(Level.MUST, at.REST_MODEL_METADATA_ERROR, [REST])
def unknown_version_error(subject: Subject) -> None:
    """The error about an unknown version is an object with the string `error`."""
    _ = subject.version
    subject.rest.get(model_path(subject.model, NO_VERSION)).require_error_object("an unknown version")


@statement(Level.SHOULD, at.REST_MODEL_METADATA_ERROR, [REST])
def unknown_model_is_the_clients_mistake(subject: Subject) -> None:
    """An unknown model is the client's mistake, so that the status is 4xx (typically 400)."""
    status = subject.rest.get(model_path(NO_MODEL)).status
    require(400 <= status < 500, f"an unknown model is answered with {status}")


def _model(subject: Subject) -> dict[str, Any]:
    return subject.rest.get(subject.path).object()


def _tensors(subject: Subject, name: str) -> list[dict[str, Any]]:
    tensors = _model(subject).get(name)
    named = isinstance(tensors, list) and all(isinstance(tensor, dict) for tensor in tensors)
    require(named and tensors, f"`{name}` is {shown(tensors)}, not a list of tensors")
    return list(tensors or [])


def _require_names(tensors: list[dict[str, Any]]) -> None:
    names = [tensor.get("name") for tensor in tensors]
    require(all(isinstance(name, str) and name for name in names), f"the names are {shown(names)}")
    require(len(set(names)) == len(names), f"the names are {shown(names)}, where one is twice")


def _require_datatypes(tensors: list[dict[str, Any]]) -> None:
    for tensor in tensors:
        known = tensor.get("datatype") in {*DTYPES, "BF16"}
        require(known, f"{shown(tensor.get('name'))} has the `datatype` {shown(tensor.get('datatype'))}")


def _require_shapes(tensors: list[dict[str, Any]]) -> None:
    for tensor in tensors:
        shape = tensor.get("shape")
        sizes = isinstance(shape, list) and all(type(size) is int and size >= -1 for size in shape)
        require(sizes, f"{shown(tensor.get('name'))} has the `shape` {shown(shape)}")


def _require_string(content: dict[str, Any], name: str) -> None:
    require(isinstance(content.get(name), str) and content[name], f"`{name}` is {shown(content.get(name))}")


def _require_strings(content: dict[str, Any], name: str) -> None:
    listed = content.get(name)
    strings = isinstance(listed, list) and all(isinstance(entry, str) for entry in listed)
    require(strings, f"`{name}` is {shown(listed)}, not a list of strings")


def _require_json_type(answer: Answer) -> None:
    kind = answer.headers.get("content-type", "")
    require(kind.partition(";")[0].strip().lower() == "application/json", f"the content type is {kind!r}")
