"""Liveness, readiness and metadata over gRPC."""

from __future__ import annotations

from collections.abc import Iterable

import grpc

from oip_conformance import sections as at
from oip_conformance.grpc_client import Reply
from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.statement import GRPC, REST, Level, Skipped, require, shown, statement
from oip_conformance.statements.rest_metadata import PLATFORM
from oip_conformance.subject import NO_MODEL, NO_VERSION, Subject
from oip_conformance.tensors import DTYPES

Tensors = Iterable[pb.ModelMetadataResponse.TensorMetadata]


@statement(Level.MUST, at.GRPC_LIVE, [GRPC])
def server_live(subject: Subject) -> None:
    """ServerLive answers OK with `live` true while the server is live."""
    require(subject.grpc.server_live().ok().live, "`live` is false")


@statement(Level.MUST, at.GRPC_READY, [GRPC])
def server_ready(subject: Subject) -> None:
    """ServerReady answers OK with `ready` true while the server is ready."""
    require(subject.grpc.server_ready().ok().ready, "`ready` is false")


@statement(Level.MUST, at.GRPC_MODEL_READY, [GRPC])
def model_ready(subject: Subject) -> None:
    """ModelReady answers OK with `ready` true while the model is ready."""
    require(subject.grpc.model_ready(subject.model).ok().ready, "`ready` is false")


@statement(Level.MUST, at.GRPC_MODEL_READY, [GRPC])
def model_version_ready(subject: Subject) -> None:
    """ModelReady takes each version that the metadata list."""
    for version in _versions(subject):
        require(subject.grpc.model_ready(subject.model, version).ok().ready, f"version {version!r} is not ready")


@statement(Level.MUST, at.GRPC_MODEL_READY, [GRPC])
def unknown_model_is_not_ready(subject: Subject) -> None:
    """A model that was not loaded is not ready: an error status, or `ready` false."""
    _require_not_ready(subject.grpc.model_ready(NO_MODEL), "an unknown model")


@statement(Level.MUST, at.GRPC_MODEL_READY, [GRPC])
def unknown_version_is_not_ready(subject: Subject) -> None:
    """A version that does not exist is not ready: an error status, or `ready` false."""
    _versions(subject)
    _require_not_ready(subject.grpc.model_ready(subject.model, NO_VERSION), "an unknown version")


@statement(Level.MUST, at.GRPC_SERVER_METADATA, [GRPC])
def server_metadata(subject: Subject) -> None:
    """ServerMetadata answers OK."""
    subject.grpc.server_metadata().ok()


@statement(Level.MUST, at.GRPC_SERVER_METADATA, [GRPC])
def server_name(subject: Subject) -> None:
    """The server's metadata have its `name`."""
    require(subject.grpc.server_metadata().ok().name, "`name` is empty")


@statement(Level.MUST, at.GRPC_SERVER_METADATA, [GRPC])
def server_version(subject: Subject) -> None:
    """The server's metadata have its `version`."""
    require(subject.grpc.server_metadata().ok().version, "`version` is empty")


@statement(Level.SHOULD, at.GRPC_OVERVIEW, [REST, GRPC])
def server_metadata_as_over_rest(subject: Subject) -> None:
    """gRPC follows REST: both say the same name, version and extensions."""
    message, content = subject.grpc.server_metadata().ok(), subject.rest.get("v2").object()
    over_grpc = (message.name, message.version, sorted(message.extensions))
    over_rest = (content.get("name"), content.get("version"), sorted(content.get("extensions") or ()))
    require(over_grpc == over_rest, f"gRPC says {shown(over_grpc)}, and REST {shown(over_rest)}")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def model_metadata(subject: Subject) -> None:
    """ModelMetadata answers OK for a model."""
    subject.grpc.model_metadata(subject.model).ok()


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def model_name(subject: Subject) -> None:
    """The metadata's `name` is the model's."""
    name = subject.grpc.model_metadata(subject.model).ok().name
    require(name == subject.model, f"`name` is {name!r}, not {subject.model!r}")


@statement(Level.SHOULD, at.GRPC_PLATFORMS, [GRPC])
def model_platform_form(subject: Subject) -> None:
    """The platform is written as project_format."""
    platform = subject.grpc.model_metadata(subject.model).ok().platform
    require(PLATFORM.fullmatch(platform), f"`platform` is {platform!r}")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def input_names(subject: Subject) -> None:
    """The metadata name the inputs, each once."""
    _require_names(subject.grpc.model_metadata(subject.model).ok().inputs)


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def output_names(subject: Subject) -> None:
    """The metadata name the outputs, each once."""
    _require_names(subject.grpc.model_metadata(subject.model).ok().outputs)


@statement(Level.MUST, at.GRPC_DATATYPES, [GRPC])
def datatypes(subject: Subject) -> None:
    """The `datatype` of each input and output is one of the protocol's."""
    for tensor in _tensors(subject):
        require(tensor.datatype in {*DTYPES, "BF16"}, f"{tensor.name!r} has the `datatype` {tensor.datatype!r}")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def shapes(subject: Subject) -> None:
    """The `shape` of each input and output has sizes, where -1 is a variable one."""
    for tensor in _tensors(subject):
        require(all(size >= -1 for size in tensor.shape), f"{tensor.name!r} has the shape {list(tensor.shape)}")


@statement(Level.MUST, at.GRPC_OVERVIEW, [REST, GRPC])
def model_metadata_as_over_rest(subject: Subject) -> None:
    """gRPC follows REST: both name the same inputs and outputs, with the same datatypes and shapes."""
    message, known = subject.grpc.model_metadata(subject.model).ok(), subject.metadata
    for name, over_grpc, over_rest in (
        ("inputs", message.inputs, known.inputs),
        ("outputs", message.outputs, known.outputs),
    ):
        one = sorted((tensor.name, tensor.datatype, tuple(tensor.shape)) for tensor in over_grpc)
        two = sorted((tensor.name, tensor.datatype, tensor.shape) for tensor in over_rest)
        require(one == two, f"the {name} are {shown(one)} over gRPC, and {shown(two)} over REST")


@statement(Level.SHOULD, at.GRPC_OVERVIEW, [REST, GRPC])
def versions_as_over_rest(subject: Subject) -> None:
    """gRPC follows REST: both list the same versions and the same platform."""
    message, known = subject.grpc.model_metadata(subject.model).ok(), subject.metadata
    one, two = (sorted(message.versions), message.platform), (sorted(known.versions), known.platform)
    require(one == two, f"gRPC says {shown(one)}, and REST {shown(two)}")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def metadata_of_a_version(subject: Subject) -> None:
    """ModelMetadata takes each version that the metadata list."""
    for version in _versions(subject):
        name = subject.grpc.model_metadata(subject.model, version).ok().name
        require(name == subject.model, f"version {version!r} has the `name` {name!r}")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def unknown_model(subject: Subject) -> None:
    """ModelMetadata of a model that does not exist has an error status."""
    subject.grpc.model_metadata(NO_MODEL).require_refused("an unknown model")


@statement(Level.MUST, at.GRPC_MODEL_METADATA, [GRPC])
def unknown_version(subject: Subject) -> None:
    """ModelMetadata of a version that does not exist has an error status."""
    _versions(subject)
    subject.grpc.model_metadata(subject.model, NO_VERSION).require_refused("an unknown version")


@statement(Level.SHOULD, at.GRPC_MODEL_METADATA, [GRPC])
def unknown_model_by_its_code(subject: Subject) -> None:
    """The status of an unknown model is one that a client can act on: NOT_FOUND, or INVALID_ARGUMENT."""
    code = subject.grpc.model_metadata(NO_MODEL).code
    known = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)
    require(code in known, f"an unknown model is answered with {code.name}")


def _versions(subject: Subject) -> list[str]:
    versions = list(subject.grpc.model_metadata(subject.model).ok().versions)
    if not versions:
        raise Skipped("the model lists no versions")
    return versions


def _tensors(subject: Subject) -> list[pb.ModelMetadataResponse.TensorMetadata]:
    message = subject.grpc.model_metadata(subject.model).ok()
    tensors = [*message.inputs, *message.outputs]
    require(tensors, "the metadata name no tensors")
    return tensors


def _require_names(tensors: Tensors) -> None:
    names = [tensor.name for tensor in tensors]
    require(names and all(names) and len(set(names)) == len(names), f"the names are {shown(names)}")


def _require_not_ready(reply: Reply[pb.ModelReadyResponse], what: str) -> None:
    if reply.message is None:
        reply.require_refused(what)
    else:
        require(not reply.message.ready, f"{what} is ready")
