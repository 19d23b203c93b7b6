"""What the statements ask: one model of one server, with inputs made from the model's metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from oip_conformance.grpc_client import GrpcClient
from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.responses import ModelMetadata, metadata_of, metadata_of_message, outputs_of, outputs_of_message
from oip_conformance.rest_client import Answer, RestClient, model_path
from oip_conformance.statement import Failed, Skipped, shown
from oip_conformance.tensors import CONTENTS, DTYPES, Tensor, filled

MADE = ((2, 2, 7), (2, 2, 2), (1, 1, 7), (2, 8, 7), (1, 16, 7), (1, 64, 7), (1, 1, 1))
"""What is tried until the model answers: sizes of the first dim and of others that are variable, limit of integers."""
NO_MODEL = "no-such-model"
NO_VERSION = "9999"
T = TypeVar("T")


class Subject:
    """One model of one server. What it learns, it keeps.

    Args:
        model: name of the model.
        rest: the server's REST address; ``None`` if it is not checked.
        grpc: the server's gRPC address; ``None`` if it is not checked.
        inputs: what to send; ``None`` makes inputs from the model's metadata.
        extensions: extensions to check although the server does not list them.
        may_reload: statements may unload and load the model.
    """

    def __init__(
        self,
        model: str,
        rest: RestClient | None,
        grpc: GrpcClient | None,
        *,
        inputs: Sequence[Tensor] | None = None,
        extensions: Sequence[str] = (),
        may_reload: bool = False,
    ) -> None:
        self.model = model
        self.may_reload = may_reload
        self._rest, self._grpc = rest, grpc
        self._given, self._assumed = inputs, frozenset(extensions)
        self._learned: dict[str, Any] = {}

    @property
    def rest(self) -> RestClient:
        """The REST address.

        Raises:
            Skipped: none was given.
        """
        if self._rest is None:
            raise Skipped("no REST address was given")
        return self._rest

    @property
    def grpc(self) -> GrpcClient:
        """The gRPC address.

        Raises:
            Skipped: none was given.
        """
        if self._grpc is None:
            raise Skipped("no gRPC address was given")
        return self._grpc

    @property
    def path(self) -> str:
        """The model's path."""
        return model_path(self.model)

    @property
    def listed(self) -> frozenset[str]:
        """The extensions that the server lists."""
        return self._learn("extensions", self._read_extensions)

    @property
    def extensions(self) -> frozenset[str]:
        """The extensions to check: what the server lists, and what the caller added."""
        return self.listed | self._assumed

    @property
    def metadata(self) -> ModelMetadata:
        """The model's metadata.

        Raises:
            Skipped: they cannot be read; the statements about metadata say why.
        """
        return self._learn("metadata", self._read_metadata)

    @property
    def inputs(self) -> Sequence[Tensor]:
        """Inputs that the model answers.

        Raises:
            Skipped: it answers none of those that were made.
        """
        return self._learn("inputs", self._find_inputs)

    @property
    def batched(self) -> bool:
        """The first dim of every input and output is variable."""
        tensors = (*self.metadata.inputs, *self.metadata.outputs)
        return all(tensor.shape[:1] == (-1,) for tensor in tensors)

    @property
    def version(self) -> str:
        """A version of the model.

        Raises:
            Skipped: it has none.
        """
        if not self.metadata.versions:
            raise Skipped("the model lists no versions")
        return self.metadata.versions[-1]

    def close(self) -> None:
        """Close the connections."""
        for client in (self._rest, self._grpc):
            if client is not None:
                client.close()

    def of_batch(self, size: int) -> list[Tensor]:
        """Inputs with another first dim: rows that the model answers, over and over.

        Raises:
            Skipped: the first dim is fixed, or the inputs were given.
        """
        return self.of_rows([row % self._rows() for row in range(size)])

    def of_rows(self, rows: Sequence[int]) -> list[Tensor]:
        """Inputs of these rows of the inputs.

        Raises:
            Skipped: the first dim is fixed, or the inputs were given.
        """
        _ = self._rows()
        return [replace(tensor, values=tensor.values[list(rows)]) for tensor in self.inputs]

    def variations(self, count: int) -> list[list[Tensor]]:
        """Inputs of the same shapes and other values: the rows of the inputs in other orders.

        Raises:
            Skipped: the first dim is fixed, or the inputs were given, or have one row.
        """
        rows = self._rows()
        if rows < 2:
            raise Skipped("the inputs have one row, so that there are no others")
        bits = max(count - 1, 1).bit_length()
        return [self.of_rows([number >> bit & 1 for bit in range(bits)]) for number in range(count)]

    def _rows(self) -> int:
        if self._given is not None:
            raise Skipped("the inputs come from a file, so that no others are made")
        if not self.batched:
            raise Skipped("the first dim of an input or output is fixed")
        return self.inputs[0].shape[0]

    # REST

    def rest_request(self, inputs: Sequence[Tensor] | None = None, **fields: Any) -> dict[str, Any]:
        """A good request with JSON data."""
        tensors = self.inputs if inputs is None else inputs
        return {**fields, "inputs": [tensor.as_json() for tensor in tensors]}

    def rest_infer(self, request: Any, version: str | None = None, **headers: str) -> Answer:
        """POST a request to the model, or to one of its versions."""
        return self.rest.post(f"{model_path(self.model, version)}/infer", request, **headers)

    def rest_outputs(self, request: Mapping[str, Any], version: str | None = None) -> list[Tensor]:
        """The outputs of a request whose answer has JSON data.

        Raises:
            Failed: it is not answered, or not as the protocol says.
        """
        return outputs_of(self.rest_infer(request, version).object())

    # gRPC

    def grpc_request(
        self, inputs: Sequence[Tensor] | None = None, *, raw: bool = True, **fields: Any
    ) -> pb.ModelInferRequest:
        """A good request, with raw contents or typed ones.

        Raises:
            Skipped: a datatype that has no typed contents.
        """
        tensors = self.inputs if inputs is None else inputs
        if not raw and any(tensor.datatype not in CONTENTS for tensor in tensors):
            raise Skipped("an input is of FP16, which is sent raw only")
        described = [
            pb.ModelInferRequest.InferInputTensor(
                name=tensor.name,
                datatype=tensor.datatype,
                shape=tensor.shape,
                contents=None if raw else tensor.contents(),
            )
            for tensor in tensors
        ]
        request = pb.ModelInferRequest(**{"model_name": self.model, "inputs": described, **fields})
        if raw:
            request.raw_input_contents.extend(tensor.raw() for tensor in tensors)
        return request

    def grpc_outputs(self, request: pb.ModelInferRequest) -> list[Tensor]:
        """The outputs of a call.

        Raises:
            Failed: it is not answered, or not as the protocol says.
        """
        return outputs_of_message(self.grpc.infer(request).ok())

    def _learn(self, name: str, read: Callable[[], T]) -> T:
        """Do it once, also where it fails."""
        if name not in self._learned:
            try:
                self._learned[name] = read()
            except (Failed, Skipped) as error:
                self._learned[name] = Skipped(str(error))
        found = self._learned[name]
        if isinstance(found, Skipped):
            raise Skipped(str(found))
        return found  # type: ignore[no-any-return]

    def _read_extensions(self) -> frozenset[str]:
        listed: Any = ()
        if self._rest is not None:
            answer = self._rest.get("v2")
            content = answer.json() if answer.status == 200 else None
            listed = content.get("extensions") if isinstance(content, dict) else None
        elif self._grpc is not None:
            message = self._grpc.server_metadata().message
            listed = message.extensions if message else None
        return frozenset(name for name in listed or () if isinstance(name, str))

    def _read_metadata(self) -> ModelMetadata:
        try:
            if self._rest is not None:
                return metadata_of(self._rest.get(self.path).object())
            message = self.grpc.model_metadata(self.model).ok()
        except Failed as error:
            raise Skipped(f"the model's metadata cannot be read: {error}") from None
        return metadata_of_message(message)

    def _find_inputs(self) -> Sequence[Tensor]:
        if self._given is not None:
            return self._given
        known = self.metadata.inputs
        if not known:
            raise Skipped("the model's metadata name no input, so that none was made; give --input FILE")
        unknown = [tensor.datatype for tensor in known if tensor.datatype not in DTYPES]
        if unknown:
            raise Skipped(f"no input of {', '.join(unknown)} is made; give --input FILE")
        refusal = ""
        for first, other, limit in MADE:
            shapes = [
                [size if size >= 0 else (other if axis else first) for axis, size in enumerate(tensor.shape)]
                for tensor in known
            ]
            made = [filled(tensor, shape, limit) for tensor, shape in zip(known, shapes, strict=True)]
            refusal = self._refusal(made)
            if not refusal:
                return made
        raise Skipped(f"no input that was made from the metadata is answered ({refusal}); give --input FILE")

    def _refusal(self, inputs: Sequence[Tensor]) -> str:
        """Why a request is not answered; empty if it is."""
        if self._rest is not None:
            answer = self.rest_infer(self.rest_request(inputs))
            return "" if answer.status == 200 else f"{answer.status}: {shown(answer.body)}"
        reply = self.grpc.infer(self.grpc_request(inputs))
        return "" if reply.message is not None else f"{reply.code.name}: {shown(reply.details)}"
