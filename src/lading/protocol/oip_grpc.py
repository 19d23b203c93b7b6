"""Tensors of the gRPC protocol to arrays and back: raw bytes, or typed contents."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.errors import InputNameError, InputShapeError, InputTypeError, RequestError
from lading.errors.sentences import shown
from lading.protocol.classification import best_classes
from lading.protocol.datatypes import BYTES, PART, TO_V2, raw_bytes, raw_strings
from lading.protocol.json_values import with_optional
from lading.protocol.oip import WantedOutput, check_id, from_raw, from_values, output_of, spec_of
from lading.protocol.parameters import check_parameters, count_of_classes, limit_time
from lading.protocol.proto import inference_pb2 as pb
from lading.spec import Array, TensorSpec

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""The field that holds a datatype's values; FP16 has none and is sent raw."""


class OipGrpcCodec:
    """One message of the protocol and its answer.

    Args:
        model: its inputs and outputs.
        budget: what reading it may cost.
    """

    brief = True

    def __init__(self, model: ModelInfo, _headers: Mapping[bytes, bytes], budget: Budget) -> None:
        self.message_id: str | None = None
        self._model, self._budget = model, budget
        self._begin = time.perf_counter()
        self._raw = False
        self._wanted: dict[str, WantedOutput] = {}

    def read(self, body: pb.ModelInferRequest) -> dict[str, Array]:
        """Turn a message into the model's inputs. Runs in a lane.

        Raises:
            RequestError: the message is not what the protocol says; the sentence names the tensor.
            BodyTooLargeError: a picture of too many pixels.
            ExpiredError: the request's own timeout has passed.
        """
        raw = body.raw_input_contents
        self.message_id = check_id(body.id)
        self._raw = bool(raw)
        if body.parameters:
            self._obey(_parameters(body, "the request"))
        for output in body.outputs:
            wanted = output_of(self._model.outputs, output.name, self._wanted)
            sent = _parameters(output, f"output {wanted.name!r}", output=True) if output.parameters else {}
            self._wanted[wanted.name] = WantedOutput(
                wanted,
                classes=count_of_classes(sent, wanted),
                alias=wanted.alias if output.name == wanted.alias else None,
            )
        if raw and len(raw) != len(body.inputs):
            raise RequestError(f"there are {len(body.inputs)} inputs and {len(raw)} raw_input_contents: send one each")
        model, arrays = self._model, dict[str, Array]()
        for place, tensor in enumerate(body.inputs):
            spec = spec_of(model.inputs, tensor.name)
            if spec.name in arrays:
                raise InputNameError(f"input {spec.name!r} is sent twice: send it once")
            if tensor.parameters:
                _parameters(tensor, f"input {spec.name!r}")
            datatype, shape, most, budget = tensor.datatype, tensor.shape, model.max_batch, self._budget
            if raw:
                if tensor.HasField("contents") and tensor.contents.ListFields():
                    raise RequestError(
                        f"input {spec.name!r} has contents, and the message has raw_input_contents: send one of them"
                    )
                array = from_raw(spec, datatype, shape, raw[place], max_batch=most, budget=budget)
            else:
                values = _contents(spec, datatype, shape, tensor.contents)
                budget.spend_values(len(values))
                array = from_values(spec, datatype, shape, values, max_batch=most, budget=budget)
            arrays[spec.name] = array
        return with_optional(model.inputs, arrays, model.max_batch)

    def write(self, outputs: Mapping[str, Array]) -> bytes:
        """The bytes of a ``ModelInferResponse``: raw where the request was, typed contents otherwise.

        It has only the requested outputs.
        """
        model = self._model
        wanted = list(self._wanted.values()) or [WantedOutput(spec) for spec in model.outputs]
        # FP16 has no typed contents, and the protocol knows no mixture: one such output makes all of them raw.
        raw = self._raw or any(not classes and TO_V2[spec.dtype] not in CONTENTS for spec, _, classes, _ in wanted)
        response = pb.ModelInferResponse(model_name=model.name, model_version=model.version, id=self.message_id or "")
        response.parameters["variant"].string_param = model.variant
        for one in wanted:
            spec = one.spec
            if one.classes:
                self._write_classes(response, one, outputs, raw=raw)
                continue
            array = np.ascontiguousarray(outputs[spec.name])
            datatype = TO_V2[spec.dtype]
            tensor = response.outputs.add(name=one.name, datatype=datatype, shape=array.shape)
            if raw:
                response.raw_output_contents.append(raw_bytes(array))
            else:
                field, flat = getattr(tensor.contents, CONTENTS[datatype]), array.ravel()
                # In parts, so that the interpreter lock is free for a moment after each.
                for start in range(0, len(flat), PART):
                    part = flat[start : start + PART].tolist()
                    field.extend([text.encode() for text in part] if datatype == BYTES else part)
        return bytes(response.SerializeToString())

    def _write_classes(
        self, response: pb.ModelInferResponse, one: WantedOutput, outputs: Mapping[str, Array], *, raw: bool
    ) -> None:
        shape, texts = best_classes(one.spec, outputs[one.spec.name], one.classes, self._budget)
        tensor = response.outputs.add(name=one.name, datatype=BYTES, shape=shape)
        if raw:
            response.raw_output_contents.append(raw_strings(texts))
        else:
            tensor.contents.bytes_contents.extend(text.encode() for text in texts)

    def _obey(self, parameters: dict[str, Any]) -> None:
        """Apply the parameters of the request; the variant has been found by the port."""
        limit_time(parameters, self._begin, self._budget)
        variant = parameters.get("variant", "")
        if not isinstance(variant, str):
            raise RequestError(f"the parameter 'variant' of the request is {shown(variant)}; send a string_param")


class _Holder(Protocol):
    """A message with parameters."""

    parameters: Any


def _parameters(holder: _Holder, where: str, *, output: bool = False) -> dict[str, Any]:
    """The values of a message's parameters by name; ``None`` for one without a value."""
    sent = {
        name: getattr(value, kind) if (kind := value.WhichOneof("parameter_choice")) else None
        for name, value in holder.parameters.items()
    }
    check_parameters(sent, where, output=output)
    return sent


def _contents(spec: TensorSpec, datatype: str, shape: Sequence[int], contents: pb.InferTensorContents) -> Sequence[Any]:
    field = CONTENTS.get(datatype)
    if field is None and datatype == TO_V2[spec.dtype]:
        raise InputTypeError(f"input {spec.name!r} has datatype {datatype}, which is sent in raw_input_contents only")
    if field is None:
        return ()  # refused with the datatype
    filled = [one.name for one, _ in contents.ListFields()]
    if filled and filled != [field]:
        raise InputTypeError(
            f"input {spec.name!r} has datatype {shown(datatype)} and its values in {filled[0]}, not in {field}"
        )
    if not filled and datatype == TO_V2[spec.dtype] and len(shape) == len(spec.shape) and 0 not in shape:
        raise InputShapeError(f"input {spec.name!r} has no values: send them as raw_input_contents or in {field}")
    values: Sequence[Any] = getattr(contents, field)
    return values
