"""The response to an inference over REST."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from oip_conformance import sections as at
from oip_conformance.responses import outputs_of
from oip_conformance.rest_client import JSON_LENGTH
from oip_conformance.statement import REST, Failed, Level, Skipped, require, shown, statement
from oip_conformance.subject import Subject
from oip_conformance.tensors import DTYPES, flattened, require_same

IDS = ("42", "a", "request-7f3e", "0", "Grüße, 世界", "x" * 64)
AT_ONCE = 8


@statement(Level.MUST, at.REST_INFERENCE, [REST])
def answers(subject: Subject) -> None:
    """An inference with the inputs that the metadata name, and flat lists as their data, is answered with 200."""
    try:
        request = subject.rest_request()
    except Skipped as skip:
        raise Failed(str(skip)) from None
    subject.rest_infer(request).require_status(200)


@statement(Level.SHOULD, at.REST_EXAMPLES, [REST])
def content_type(subject: Subject) -> None:
    """A response without binary data has the content type application/json."""
    kind = subject.rest_infer(subject.rest_request()).headers.get("content-type", "")
    require(kind.partition(";")[0].strip().lower() == "application/json", f"the content type is {kind!r}")


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def model_name(subject: Subject) -> None:
    """The response has the `model_name` of the model."""
    name = _response(subject).get("model_name")
    require(name == subject.model, f"`model_name` is {shown(name)}, not {subject.model!r}")


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def model_version(subject: Subject) -> None:
    """`model_version`, if the response has it, is one of the versions that the metadata list."""
    version = _response(subject).get("model_version")
    if version is None or not subject.metadata.versions:
        raise Skipped("the response has no `model_version`, or the metadata list no versions")
    require(version in subject.metadata.versions, f"`model_version` is {shown(version)}")


@statement(Level.SHOULD, at.REST_RESPONSE, [REST])
def no_version_without_versions(subject: Subject) -> None:
    """A server that does not implement versions leaves `model_version` out."""
    if subject.metadata.versions:
        raise Skipped("the model has versions")
    version = _response(subject).get("model_version")
    require(not version, f"the metadata list no versions, and `model_version` is {shown(version)}")


@statement(Level.MUST, at.REST_REQUEST, [REST])
def returns_the_id(subject: Subject) -> None:
    """The `id` of the request is returned in the response, whatever string it is."""
    for sent in IDS:
        answer = subject.rest_infer(subject.rest_request(id=sent))
        require(answer.status == 200, f"the id {sent!r} is answered with {answer.status}: {shown(answer.body)}")
        got = answer.object().get("id")
        require(got == sent, f"the id {sent!r} comes back as {shown(got)}")


@statement(Level.MUST, at.REST_REQUEST, [REST])
def returns_each_its_own_id(subject: Subject) -> None:
    """Requests that are sent at the same time get their own ids back."""
    sent = [f"at-once-{number}" for number in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        got = list(pool.map(lambda one: _response(subject, id=one).get("id"), sent))
    require(got == sent, f"the ids {sent} come back as {shown(got)}")


@statement(Level.SHOULD, at.REST_RESPONSE, [REST])
def makes_up_no_id(subject: Subject) -> None:
    """The response's `id` is the request's, if any: a request without one gets none."""
    got = _response(subject).get("id")
    require(not got, f"the request has no id, and the response has {shown(got)}")


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def id_is_a_string(subject: Subject) -> None:
    """The response's `id` is a string where there is one."""
    for response in (_response(subject), _response(subject, id="42")):
        got = response.get("id")
        require(got is None or isinstance(got, str), f"`id` is {shown(got)}, not a string")


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def parameters(subject: Subject) -> None:
    """The `parameters` of the response and of its outputs are objects of strings, numbers and booleans."""
    response = _response(subject)
    holders = [response, *_outputs(response)]
    found = [holder["parameters"] for holder in holders if holder.get("parameters") is not None]
    if not found:
        raise Skipped("the response has no parameters")
    for each in found:
        simple = isinstance(each, dict) and all(isinstance(value, str | int | float | bool) for value in each.values())
        require(simple, f"`parameters` is {shown(each)}")


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def outputs(subject: Subject) -> None:
    """The response has the list `outputs`, with a tensor at least."""
    require(_outputs(_response(subject)), "`outputs` is empty")


@statement(Level.MUST, at.REST_REQUEST, [REST])
def all_outputs_by_default(subject: Subject) -> None:
    """A request that names no outputs gets all that the metadata name, and no other."""
    if not subject.metadata.outputs:
        raise Skipped("the model's metadata name no output")
    got = [output.get("name") for output in _outputs(_response(subject))]
    wanted = [tensor.name for tensor in subject.metadata.outputs]
    require(sorted(map(str, got)) == sorted(wanted), f"the outputs are {shown(got)}, not {wanted}")


@statement(Level.MUST, at.REST_DATATYPES, [REST])
def output_datatypes(subject: Subject) -> None:
    """The `datatype` of each output is the one that the metadata name."""
    known = {tensor.name: tensor.datatype for tensor in subject.metadata.outputs}
    for output in _known_outputs(subject):
        got, wanted = output.get("datatype"), known[output["name"]]
        require(got == wanted, f"output {output['name']!r} has the datatype {shown(got)}; the metadata say {wanted}")


@statement(Level.MUST, at.REST_RESPONSE_OUTPUT, [REST])
def output_shapes(subject: Subject) -> None:
    """The `shape` of each output is a list of sizes."""
    for output in _outputs(_response(subject)):
        shape = output.get("shape")
        sizes = isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)
        require(sizes, f"output {shown(output.get('name'))} has the shape {shown(shape)}")


@statement(Level.MUST, at.REST_MODEL_METADATA, [REST])
def output_shapes_fit_the_metadata(subject: Subject) -> None:
    """The shape of each output has the dims that the metadata say, with any size where they say -1."""
    known = {tensor.name: tensor.shape for tensor in subject.metadata.outputs}
    for output in _known_outputs(subject):
        require_fits(output["name"], output.get("shape") or [], known[output["name"]])


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def as_many_values_as_the_shape(subject: Subject) -> None:
    """`data` has as many elements as the shape, nested or flat."""
    for output in _outputs(_response(subject)):
        values, shape = flattened(output.get("data")), output.get("shape") or []
        count = math.prod(shape)
        require(len(values) == count, f"output {shown(output.get('name'))} of shape {shape} has {len(values)} values")


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def values_of_the_datatype(subject: Subject) -> None:
    """Elements of `data` are booleans for BOOL, integers within the range for INT and UINT, strings for BYTES."""
    outputs_of(_response(subject))


@statement(Level.MUST, at.REST_TENSOR_DATA, [REST])
def json_data_by_default(subject: Subject) -> None:
    """A request that asks for no extension gets its data as JSON, in a body that is JSON alone."""
    answer = subject.rest_infer(subject.rest_request())
    content = answer.object()
    require(JSON_LENGTH.lower() not in answer.headers, f"the response has the header {JSON_LENGTH}")
    require(all("data" in output for output in _outputs(content)), f"an output has no `data`: {shown(content)}")


@statement(Level.SHOULD, at.REST_RESPONSE_OUTPUT, [REST])
def whole_batches(subject: Subject) -> None:
    """Shape and data of an output are those of the whole batch: 1, 2 and 3 rows in, as many out."""
    for size in (1, 2, 3):
        for output in subject.rest_outputs(subject.rest_request(subject.of_batch(size))):
            rows = output.shape[:1]
            require(rows == [size], f"{size} rows in, and output {output.name!r} has the shape {output.shape}")


@statement(Level.MUST, at.REST_PATHS, [REST])
def by_version(subject: Subject) -> None:
    """An inference takes each version that the metadata list in its path."""
    _ = subject.version
    for version in subject.metadata.versions:
        subject.rest_infer(subject.rest_request(), version).require_status(200)


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def the_version_that_was_asked(subject: Subject) -> None:
    """The `model_version` of an inference by version is the version of the path."""
    version = subject.version
    got = subject.rest_infer(subject.rest_request(), version).object().get("model_version")
    if got is None:
        raise Skipped("the response has no `model_version`")
    require(got == version, f"version {version!r} was asked, and `model_version` is {shown(got)}")


@statement(Level.MUST, at.REST_RESPONSE, [REST])
def each_its_own_outputs(subject: Subject) -> None:
    """Requests with different inputs that are sent at the same time get the outputs of their own inputs."""
    requests = [subject.rest_request(inputs) for inputs in subject.variations(AT_ONCE)]
    alone = [subject.rest_outputs(request) for request in requests]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        together = list(pool.map(subject.rest_outputs, requests))
    for one, two in zip(alone, together, strict=True):
        require_same(one, two, "a request alone, and with others at the same time")


def require_fits(name: str, shape: Any, wanted: tuple[int, ...]) -> None:
    """Fail unless a shape has the dims of the metadata's."""
    fits = len(shape) == len(wanted) and all(want in (-1, size) for size, want in zip(shape, wanted, strict=True))
    require(fits, f"output {name!r} has the shape {shown(shape)}; the metadata say {list(wanted)}")


def _response(subject: Subject, **fields: Any) -> dict[str, Any]:
    return subject.rest_infer(subject.rest_request(**fields)).object()


def _outputs(response: dict[str, Any]) -> list[dict[str, Any]]:
    found = response.get("outputs")
    objects = isinstance(found, list) and all(isinstance(output, dict) for output in found)
    require(objects, f"`outputs` is {shown(found)}, not a list of objects")
    return list(found or [])


def _known_outputs(subject: Subject) -> list[dict[str, Any]]:
    """Outputs of a response that the metadata name with a datatype of the protocol."""
    known = {tensor.name for tensor in subject.metadata.outputs if tensor.datatype in DTYPES}
    if not known:
        raise Skipped("the model's metadata name no output")
    return [output for output in _outputs(_response(subject)) if output.get("name") in known]
