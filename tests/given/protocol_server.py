"""A small server that does all the Open Inference Protocol says, and that can be made to do one thing wrong.

It has two models: ``echo`` returns its inputs and has versions, ``total`` adds up rows and has none. Both answer over
REST and gRPC, with Triton's extensions.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

from oip_conformance.proto import oip_pb2 as pb
from oip_conformance.statement import Failed
from oip_conformance.tensors import DTYPES, Tensor, from_contents, from_raw
from tests.given.protocol_messages import (
    ECHO,
    EXTENSIONS,
    LENGTH,
    RIGHT,
    VERSIONS,
    Asked,
    Model,
    Refused,
    Reply,
    classified,
    metadata_of,
    parameters_of,
    parsed,
    read_inputs,
    read_outputs,
    response,
    statistics,
    tensors_of,
)


class ProtocolServer:
    """The protocol, without the ports."""

    def __init__(self) -> None:
        echo = Model("echo", tensors_of(ECHO), tensors_of(ECHO, "_out"), VERSIONS)
        numbers = {"numbers": ECHO["numbers"]}
        total = Model("total", tensors_of(numbers), tensors_of({"total": ("FP32", 1)}), ())
        self.models = {model.name: model for model in (echo, total)}
        self.fault = RIGHT
        self._lock = threading.Lock()

    def find(self, name: str, version: str = "") -> Model:
        """A model that is loaded."""
        if name not in self.models or (version and version not in self.models[name].versions):
            raise Refused(f"no model {name!r} with version {version!r}", 404, grpc.StatusCode.NOT_FOUND)
        if not self.models[name].loaded:
            raise Refused(f"{name!r} is not loaded", 503, grpc.StatusCode.UNAVAILABLE)
        return self.models[name]

    def infer(self, model: Model, inputs: list[Tensor]) -> dict[str, Tensor]:
        """Check the inputs against the model's, and run it."""
        known = {tensor.name: tensor for tensor in model.inputs}
        names = [tensor.name for tensor in inputs]
        if sorted(names) != sorted(known):
            raise Refused(f"the inputs are {names}; the model takes {list(known)}")
        for tensor in inputs:
            wanted = known[tensor.name]
            if tensor.datatype != wanted.datatype or len(tensor.shape) != 2 or tensor.shape[1] != wanted.shape[1]:
                raise Refused(f"{tensor.name} is {tensor.datatype} of shape {tensor.shape}")
        if len({tensor.shape[0] for tensor in inputs}) != 1:
            raise Refused("the inputs have different numbers of rows")
        start = time.perf_counter_ns()
        given = {tensor.name: tensor for tensor in inputs}
        outputs = model.run(given if self.fault.values is None else self.fault.values(given))
        with self._lock:
            model.rows += inputs[0].shape[0]
            model.runs += 1
            model.last = time.time_ns() // 1_000_000
            model.nanoseconds += max(time.perf_counter_ns() - start, 1)
        return outputs

    # REST

    def rest(self, asked: Asked) -> Reply:
        """Answer a request, with the fault."""
        fault, given = self.fault, asked
        if fault.rest_before is not None:
            before = fault.rest_before(asked)
            if isinstance(before, Reply):
                return before
            given = before
        try:
            reply = self._rest(given)
        except Refused as refused:
            reply = Reply(refused.status, {"error": str(refused)})
        return reply if fault.rest_after is None else fault.rest_after(asked, reply)

    def _rest(self, asked: Asked) -> Reply:
        parts = asked.path.strip("/").split("/")
        if parts[:2] == ["v2", "repository"]:
            return self._repository(asked, parts[2:])
        if asked.method != ("POST" if parts[-1] == "infer" else "GET"):
            raise Refused("not this method", 405)
        match parts:
            case ["v2"]:
                return Reply(200, {"name": "right", "version": "1.0", "extensions": list(EXTENSIONS)})
            case ["v2", "health", ("live" | "ready") as kind]:
                return Reply(200, {kind: True})
            case ["v2", "models"]:
                return Reply(200, {"models": list(self.models)})
            case ["v2", "models", "stats"]:
                return Reply(200, {"model_stats": [statistics(model) for model in self.models.values()]})
            case ["v2", "models", name, *rest]:
                version = rest[1] if rest[:1] == ["versions"] and len(rest) > 1 else ""
                return self._model(asked, self.find(name, version), version, rest[2:] if version else rest)
        raise Refused("no such path", 404)

    def _model(self, asked: Asked, model: Model, version: str, rest: list[str]) -> Reply:
        match rest:
            case []:
                return Reply(200, metadata_of(model))
            case ["ready"]:
                return Reply(200, {"name": model.name, "ready": True})
            case ["stats"]:
                return Reply(200, {"model_stats": [statistics(model, version)]})
            case ["infer"]:
                return self._infer(asked, model, version)
        raise Refused("no such path", 404)

    def _infer(self, asked: Asked, model: Model, version: str) -> Reply:
        header = asked.headers.get(LENGTH)
        if header == "0":
            return self._raw(asked, model, version)
        end = len(asked.body) if header is None else int(header) if header.isdigit() else -1
        if not 0 <= end <= len(asked.body):
            raise Refused(f"the length of the JSON is {header}")
        request = parsed(asked.body[:end])
        entries, outputs = request.get("inputs"), request.get("outputs")
        parameters = parameters_of(request)
        if not isinstance(entries, list) or not isinstance(outputs, list | None):
            raise Refused("`inputs` and `outputs` are lists")
        if not isinstance(request.get("id"), str | None):
            raise Refused("`id` is not a string")
        inputs = read_inputs(entries, asked.body[end:])
        wanted = read_outputs(outputs, model, binary=parameters.get("binary_data_output") is True)
        found = self.infer(model, inputs)
        return response(model, version, request.get("id"), found, wanted)

    def _raw(self, asked: Asked, model: Model, version: str) -> Reply:
        if len(model.inputs) != 1:
            raise Refused("the model has several inputs")
        (known,) = model.inputs
        row = known.shape[1] * DTYPES[known.datatype].itemsize
        if not asked.body or len(asked.body) % row:
            raise Refused(f"{len(asked.body)} bytes are no whole number of rows")
        tensor = from_raw(known.name, known.datatype, [len(asked.body) // row, known.shape[1]], asked.body)
        wanted = read_outputs(None, model, binary=True)
        return response(model, version, None, self.infer(model, [tensor]), wanted)

    def _repository(self, asked: Asked, rest: list[str]) -> Reply:
        match rest:
            case ["index"]:
                ready = parsed(asked.body or b"{}").get("ready") is True
                return Reply(200, self.index(ready=ready))
            case ["models", name, ("load" | "unload") as action]:
                self.set_loaded(name, loaded=action == "load")
                return Reply(200, {})
        raise Refused("no such path", 404)

    def set_loaded(self, name: str, *, loaded: bool) -> None:
        """Load or unload a model."""
        if name not in self.models:
            raise Refused(f"no model {name!r}", 404, grpc.StatusCode.NOT_FOUND)
        self.models[name].loaded = loaded

    def index(self, *, ready: bool) -> list[dict[str, str]]:
        """Entries of all models, or of the ready ones. One was never loaded."""
        entries = [
            {"name": model.name, "version": "1", "state": "READY" if model.loaded else "UNAVAILABLE", "reason": ""}
            for model in self.models.values()
        ]
        entries.append({"name": "spare", "version": "1", "state": "UNAVAILABLE", "reason": "not loaded"})
        return [entry for entry in entries if entry["state"] == "READY" or not ready]

    # gRPC

    def grpc(self, method: str, request: Any) -> Any:
        """Answer a call, with the fault: a message, or :class:`Refused`."""
        fault = self.fault
        given = request if fault.grpc_before is None else fault.grpc_before(method, request)
        try:
            found: Any = getattr(self, f"_grpc_{method}")(given)
        except Refused as refused:
            found = refused
        except Failed as failed:
            found = Refused(str(failed))
        return found if fault.grpc_after is None else fault.grpc_after(method, request, found)

    def _grpc_ServerLive(self, _: Any) -> Any:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    def _grpc_ServerReady(self, _: Any) -> Any:  # noqa: N802
        return pb.ServerReadyResponse(ready=True)

    def _grpc_ModelReady(self, request: Any) -> Any:  # noqa: N802
        self.find(request.name, request.version)
        return pb.ModelReadyResponse(ready=True)

    def _grpc_ServerMetadata(self, _: Any) -> Any:  # noqa: N802
        return pb.ServerMetadataResponse(name="right", version="1.0", extensions=EXTENSIONS)

    def _grpc_ModelMetadata(self, request: Any) -> Any:  # noqa: N802
        return pb.ModelMetadataResponse(**metadata_of(self.find(request.name, request.version)))

    def _grpc_ModelInfer(self, request: Any) -> Any:  # noqa: N802
        model = self.find(request.model_name, request.model_version)
        raw = list(request.raw_input_contents)
        if raw and (len(raw) != len(request.inputs) or any(each.contents.ListFields() for each in request.inputs)):
            raise Refused("raw contents of each input, or typed ones")
        inputs = []
        for place, each in enumerate(request.inputs):
            shape = list(each.shape)
            if each.datatype not in DTYPES or any(size < 0 for size in shape):
                raise Refused(f"{each.name} is {each.datatype!r} of shape {shape}")
            if raw:
                inputs.append(from_raw(each.name, each.datatype, shape, raw[place]))
            else:
                inputs.append(from_contents(each.name, each.datatype, shape, each.contents))
        known = {tensor.name for tensor in model.outputs}
        names = [output.name for output in request.outputs]
        if not known.issuperset(names):
            raise Refused(f"the outputs {names} do not exist")
        found = self.infer(model, inputs)
        classes = {
            output.name: output.parameters["classification"]
            for output in request.outputs
            if "classification" in output.parameters
        }
        message = pb.ModelInferResponse(model_name=model.name, id=request.id)
        if model.versions:
            message.model_version = request.model_version or model.versions[-1]
        for name in names or [tensor.name for tensor in model.outputs]:
            tensor = found[name]
            if name in classes:
                tensor = classified(tensor, classes[name].int64_param)
            output = message.outputs.add(name=name, datatype=tensor.datatype, shape=tensor.shape)
            if raw:
                message.raw_output_contents.append(tensor.raw())
            else:
                output.contents.CopyFrom(tensor.contents())
        return message

    def _grpc_RepositoryIndex(self, request: Any) -> Any:  # noqa: N802
        return pb.RepositoryIndexResponse(models=self.index(ready=request.ready))

    def _grpc_RepositoryModelLoad(self, request: Any) -> Any:  # noqa: N802
        self.set_loaded(request.model_name, loaded=True)
        return pb.RepositoryModelLoadResponse()

    def _grpc_RepositoryModelUnload(self, request: Any) -> Any:  # noqa: N802
        self.set_loaded(request.model_name, loaded=False)
        return pb.RepositoryModelUnloadResponse()

    def _grpc_ModelStatistics(self, request: Any) -> Any:  # noqa: N802
        models = [self.find(request.name, request.version)] if request.name else list(self.models.values())
        message = pb.ModelStatisticsResponse()
        for model in models:
            fields = statistics(model)
            entry = message.model_stats.add(
                **{name: fields[name] for name in ("name", "last_inference", "inference_count", "execution_count")}
            )
            entry.inference_stats.success.count = model.runs
        return message


@contextlib.contextmanager
def protocol_server() -> Iterator[tuple[ProtocolServer, str, str]]:
    """The server, and its addresses over REST and gRPC, until the block ends."""
    server = ProtocolServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = server.rest(Asked(self.command, self.path, headers, body))
            sent, content = reply.encoded()
            self.send_response(reply.status)
            for name, value in {"content-length": str(len(content)), **sent}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_DELETE = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> Any:
            method = details.method.rpartition("/")[2]
            request = getattr(pb, f"{method}Request", None)

            def answer(message: Any, context: Any) -> Any:
                found = server.grpc(method, message)
                if isinstance(found, Refused):
                    context.abort(found.code, str(found))
                return found

            if request is None:
                return None
            return grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=request.FromString,
                response_serializer=lambda each: each.SerializeToString(),
            )

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    calls = grpc.server(ThreadPoolExecutor(16), handlers=[Calls()])
    port = calls.add_insecure_port("127.0.0.1:0")
    calls.start()
    try:
        yield server, f"http://127.0.0.1:{http.server_port}", f"127.0.0.1:{port}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
        calls.stop(None).wait()
