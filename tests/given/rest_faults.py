"""Faults of a server over REST, and the statements that have to find each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from tests.given.protocol_faults import (
    EVERY,
    INFER,
    LIVE,
    MODEL,
    MODEL_READY,
    OF_VERSION,
    READY,
    SERVER,
    breaks_after_an_error,
    change,
    drop,
    each,
    entries,
    errors,
    good,
    headers,
    mixes_up_answers,
    mixes_up_ids,
    put,
    request,
    rounded,
    status,
    values,
)
from tests.given.protocol_messages import EXTENSIONS, Asked, Fault, Reply

Content = dict[str, Any]


def is_nested(content: Content) -> bool:
    return any(isinstance(entry["data"][0], list) for entry in content["inputs"])


def reverse_nested(content: Content) -> None:
    for entry in content["inputs"]:
        if isinstance(entry["data"][0], list):
            entry["data"].reverse()


def cut_whole_floats(content: Content) -> None:
    for entry in content["inputs"]:
        if entry["datatype"] == "FP32":
            entry["data"] = [0.0 if type(value) is int else value for value in entry["data"]]


def has_parameters(holders: list[Content] | None) -> bool:
    return any("conformance_text" in holder.get("parameters", {}) for holder in holders or [])


def keep_first_output(content: Content) -> None:
    content["outputs"] = content["outputs"][:1]


def binary_always(content: Content) -> None:
    content["parameters"] = {"binary_data_output": True}


def number_versions(content: Content) -> None:
    if "versions" in content:
        content["versions"] = [1, 2]


def make_up_an_id(content: Content) -> None:
    content.setdefault("id", "made-up")


def one_output_more(content: Content) -> None:
    content["outputs"].append({**content["outputs"][0], "name": "more"})


def first_row(entry: Content) -> None:
    entry["data"] = entry.get("data", [])[: entry["shape"][1]]
    entry["shape"] = [1, entry["shape"][1]]


def other_value_of_one_output() -> Fault:
    def after(_: Asked, reply: Reply) -> Reply:
        outputs = reply.content.get("outputs") if isinstance(reply.content, dict) else None
        if outputs and len(outputs) == 1 and outputs[0]["name"] == "numbers_out" and "data" in outputs[0]:
            outputs[0]["data"][0] += 1
        return reply

    return Fault(rest_after=after)


REST_FAULTS: dict[str, tuple[Callable[[], Fault], str]] = {
    "not live": (lambda: status(LIVE, 503), "rest_health.live rest_health.live_body"),
    "live says false": (lambda: put(LIVE, "live", False), "rest_health.live_body"),
    "not ready": (lambda: status(READY, 503), "rest_health.ready rest_health.ready_body"),
    "ready says a word": (lambda: put(READY, "ready", "yes"), "rest_health.ready_body"),
    "the model is not ready": (
        lambda: status(MODEL_READY, 503),
        "rest_health.model_ready rest_health.model_ready_body rest_health.ready_includes_the_model",
    ),
    "a ready model has no name": (lambda: drop(MODEL_READY, "name"), "rest_health.model_ready_name"),
    "a ready model says a word": (lambda: put(MODEL_READY, "ready", "true"), "rest_health.model_ready_body"),
    "versions have no ready call": (
        lambda: status(r"/versions/\w+/ready$", 404),
        "rest_health.model_version_ready",
    ),
    "every model is ready": (
        lambda: errors(MODEL_READY, good),
        "rest_health.unknown_model_is_not_ready rest_health.unknown_version_is_not_ready",
    ),
    "no server metadata": (lambda: status(SERVER, 500), "rest_metadata.server"),
    "no path with a slash": (lambda: status(r"^/v2/$", 404), "rest_metadata.server_with_a_slash"),
    "JSON is called text": (
        lambda: headers(EVERY, content_type="text/plain"),
        "rest_metadata.server_content_type rest_metadata.model_content_type rest_response.content_type "
        "binary_data.content_type",
    ),
    "the server has no name": (
        lambda: drop(SERVER, "name"),
        "rest_metadata.server_name grpc_health.server_metadata_as_over_rest",
    ),
    "the server's version is a number": (lambda: put(SERVER, "version", 1), "rest_metadata.server_version"),
    "extensions are text": (
        lambda: put(SERVER, "extensions", "binary_tensor_data"),
        "rest_metadata.server_extensions",
    ),
    "an extension is listed twice": (
        lambda: put(SERVER, "extensions", [*EXTENSIONS, EXTENSIONS[0]]),
        "rest_metadata.server_extensions_once",
    ),
    "extensions are not listed": (
        lambda: put(SERVER, "extensions", []),
        "binary_data.listed classification.listed repository.listed statistics.listed",
    ),
    "a DELETE is answered": (lambda: errors(SERVER, good), "rest_metadata.server_by_get_only"),
    "no model metadata": (lambda: status(MODEL, 500), "rest_metadata.model"),
    "metadata of another model": (
        lambda: put(MODEL, "name", "other"),
        "rest_metadata.model_name rest_metadata.versions_are_found",
    ),
    "versions are numbers": (
        lambda: change(MODEL, number_versions),
        "rest_metadata.model_versions rest_response.no_version_without_versions grpc_health.versions_as_over_rest",
    ),
    "no platform": (lambda: drop(MODEL, "platform"), "rest_metadata.model_platform"),
    "the platform is a word": (lambda: put(MODEL, "platform", "numpy"), "rest_metadata.model_platform_form"),
    "metadata without inputs": (
        lambda: drop(MODEL, "inputs"),
        "rest_metadata.model_inputs rest_response.answers grpc_health.model_metadata_as_over_rest",
    ),
    "metadata without outputs": (lambda: drop(MODEL, "outputs"), "rest_metadata.model_outputs"),
    "inputs of one name": (lambda: each(MODEL, "inputs", name="same"), "rest_metadata.input_names"),
    "outputs of one name": (lambda: each(MODEL, "outputs", name="same"), "rest_metadata.output_names"),
    "input datatypes of numpy": (lambda: each(MODEL, "inputs", datatype="float32"), "rest_metadata.input_datatypes"),
    "output datatypes of numpy": (
        lambda: each(MODEL, "outputs", datatype="float32"),
        "rest_metadata.output_datatypes",
    ),
    "input shapes with names": (lambda: each(MODEL, "inputs", shape=["batch", 4]), "rest_metadata.input_shapes"),
    "output shapes with -2": (lambda: each(MODEL, "outputs", shape=[-2, 4]), "rest_metadata.output_shapes"),
    "versions are not found": (lambda: status(f"{OF_VERSION}$", 404), "rest_metadata.versions_are_found"),
    "every model has metadata": (
        lambda: errors(MODEL, good),
        "rest_metadata.unknown_model rest_metadata.unknown_version",
    ),
    "errors have no error string": (
        lambda: errors(EVERY, lambda reply: replace(reply, content={"detail": "x"})),
        "rest_metadata.unknown_model_error rest_metadata.unknown_version_error rest_mistakes.unknown_model_error "
        "rest_mistakes.error_about_the_json rest_mistakes.error_about_a_field rest_mistakes.error_about_the_data "
        "repository.index_that_is_not_json repository.load_an_unknown_model repository.unload_an_unknown_model "
        "statistics.of_an_unknown_model",
    ),
    "all errors are the server's": (
        lambda: errors(EVERY, lambda reply: replace(reply, status=500)),
        "rest_metadata.unknown_model_is_the_clients_mistake rest_mistakes.errors_are_the_clients "
        "rest_mistakes.other_values_are_coerced_or_refused",
    ),
    "an error of an inference looks good": (
        lambda: errors(INFER, good),
        "rest_mistakes.unknown_model rest_mistakes.unknown_version rest_mistakes.not_a_number "
        "rest_mistakes.by_post_only binary_data.needs_the_header binary_data.the_header_is_within_the_body "
        "binary_data.the_header_is_a_number binary_data.size_beyond_the_body "
        "binary_data.size_that_is_not_the_shapes binary_data.bytes_of_no_input binary_data.data_and_bytes "
        "binary_data.raw_request_of_another_size binary_data.raw_request_for_several_inputs "
        "classification.rest_no_number_of_classes",
    ),
    "no request is answered after an error": (
        breaks_after_an_error,
        "rest_mistakes.answers_after_mistakes",
    ),
    "no call is answered after an error": (breaks_after_an_error, "grpc_mistakes.answers_after_mistakes"),
    "requested outputs are ignored": (
        lambda: request(lambda content: content.pop("outputs", None)),
        "rest_request.one_output rest_mistakes.unknown_output rest_mistakes.an_output_without_name",
    ),
    "one of the requested outputs comes": (lambda: request(keep_first_output), "rest_request.all_outputs_by_name"),
    "an output by name has another value": (
        other_value_of_one_output,
        "rest_request.one_output_has_the_same_values",
    ),
    "flat data are refused": (lambda: request(is_nested), "rest_response.answers grpc_inference.answers"),
    "nested data are refused": (
        lambda: request(lambda content: not is_nested(content)),
        "rest_request.nested_data rest_request.nested_and_flat_data_are_the_same",
    ),
    "nested data are read from the end": (
        lambda: request(reverse_nested),
        "rest_request.nested_and_flat_data_are_the_same",
    ),
    "whole numbers are read as 0": (
        lambda: request(cut_whole_floats),
        "rest_request.whole_numbers_for_floats",
    ),
    "two rows are the limit": (
        lambda: request(lambda content: content["inputs"][0]["shape"][0] <= 2),
        "rest_request.any_size_of_a_variable_dim rest_response.whole_batches",
    ),
    "values are rounded": (
        lambda: values(rounded),
        "rest_request.the_limits_of_integers rest_request.floats_keep_their_digits rest_request.booleans_come_back "
        "rest_request.texts_come_back grpc_inference.the_limits_of_integers grpc_inference.floats_keep_their_digits "
        "grpc_inference.bytes_come_back",
    ),
    "parameters of a request are refused": (
        lambda: request(lambda content: not has_parameters([content])),
        "rest_request.parameters_of_the_request",
    ),
    "parameters of an input are refused": (
        lambda: request(lambda content: not has_parameters(content["inputs"])),
        "rest_request.parameters_of_an_input",
    ),
    "parameters of an output are refused": (
        lambda: request(lambda content: not has_parameters(content.get("outputs"))),
        "rest_request.parameters_of_an_output",
    ),
    "empty parameters are refused": (
        lambda: request(lambda content: content.get("parameters") != {}),
        "rest_request.parameters_may_be_empty",
    ),
    "inputs have to come last": (
        lambda: request(lambda content: list(content)[-1] == "inputs"),
        "rest_request.members_in_any_order",
    ),
    "white space is refused": (
        lambda: status(INFER, 400, only=lambda asked: asked.body[:1].isspace()),
        "rest_request.white_space",
    ),
    "escapes are refused": (
        lambda: status(INFER, 400, only=lambda asked: b"\\u0" in asked.body),
        "rest_request.escaped_names",
    ),
    "a charset is refused": (
        lambda: status(INFER, 415, only=lambda asked: "charset" in asked.headers.get("content-type", "")),
        "rest_request.content_type_with_charset",
    ),
    "no inference": (lambda: status(INFER, 500), "rest_response.answers"),
    "another model_name": (lambda: put(INFER, "model_name", "other"), "rest_response.model_name"),
    "another model_version": (
        lambda: put(INFER, "model_version", "7"),
        "rest_response.model_version rest_response.no_version_without_versions "
        "rest_response.the_version_that_was_asked",
    ),
    "no id comes back": (
        lambda: drop(INFER, "id"),
        "rest_response.returns_the_id rest_response.returns_each_its_own_id binary_data.returns_the_id",
    ),
    "an id is made up": (lambda: change(INFER, make_up_an_id), "rest_response.makes_up_no_id"),
    "the id is a number": (lambda: put(INFER, "id", 42), "rest_response.id_is_a_string"),
    "clients get the id of another one": (
        mixes_up_ids,
        "rest_response.returns_each_its_own_id grpc_inference.returns_each_its_own_id",
    ),
    "clients get the answer of another one": (mixes_up_answers, "rest_response.each_its_own_outputs"),
    "callers get the answer of another one": (mixes_up_answers, "grpc_inference.each_its_own_outputs"),
    "parameters are a list": (lambda: put(INFER, "parameters", ["a"]), "rest_response.parameters"),
    "no outputs": (
        lambda: put(INFER, "outputs", []),
        "rest_response.outputs rest_response.all_outputs_by_default grpc_inference.as_over_rest",
    ),
    "outputs is an object": (lambda: put(INFER, "outputs", {}), "rest_response.outputs"),
    "an output more": (lambda: change(INFER, one_output_more), "rest_response.all_outputs_by_default"),
    "datatypes are wider": (
        lambda: entries(lambda entry: entry.update(datatype="FP64")),
        "rest_response.output_datatypes",
    ),
    "the shape is text": (lambda: entries(lambda entry: entry.update(shape="2,2")), "rest_response.output_shapes"),
    "outputs have a dim more": (
        lambda: entries(lambda entry: entry["shape"].append(1)),
        "rest_response.output_shapes_fit_the_metadata",
    ),
    "a value is missing": (
        lambda: entries(lambda entry: entry.get("data", [1]).pop()),
        "rest_response.as_many_values_as_the_shape",
    ),
    "values are text": (
        lambda: entries(lambda entry: entry.update(data=[str(value) for value in entry.get("data", [])])),
        "rest_response.values_of_the_datatype",
    ),
    "outputs are always binary": (lambda: request(binary_always), "rest_response.json_data_by_default"),
    "one row comes back": (
        lambda: entries(first_row),
        "rest_response.whole_batches grpc_inference.as_over_rest",
    ),
    "versions have no inference": (lambda: status(r"/versions/\w+/infer$", 404), "rest_response.by_version"),
}
"""Each fault, and the ids of the statements that find it."""
