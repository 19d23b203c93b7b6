"""Send a running server the artifact's golden requests, as a client does, and compare the answers."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path

import grpc
import httpx
import numpy as np

from lading.artifact import Artifact
from lading.errors import CheckError
from lading.key_file import bearer
from lading.protocol.datatypes import FROM_V2, TO_V2
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import Array

TIMEOUT_S = 60.0


def check_server(
    artifact: Artifact, url: str, grpc_address: str | None, *, key: Path | None = None, ca: Path | None = None
) -> Iterator[str]:
    """Compare a server's answers with the golden ones, one protocol after the other.

    Args:
        artifact: what should be served.
        url: of its HTTP port.
        grpc_address: ``host:port``; ``None`` leaves gRPC out.
        key: file of keys; the first that has not expired is sent.
        ca: PEM file of the certificate to trust; with it gRPC speaks TLS.

    Returns:
        A sentence for each protocol that agrees.

    Raises:
        CheckError: the server does not answer, serves another artifact, or answers differently.
        SettingsError: the file of keys cannot be used.
    """
    headers = bearer(key) if key else {}
    trust = ssl.create_default_context(cafile=str(ca)) if ca else True
    with httpx.Client(base_url=url, headers=headers, verify=trust, timeout=TIMEOUT_S) as client:
        try:
            variant = _served(client, artifact)
            answer = _ask_rest(client, artifact)
        except httpx.HTTPError as error:
            raise CheckError(f"{url} does not answer: {error}") from None
    yield _compare("REST", answer, artifact, variant)
    if grpc_address is not None:
        yield _compare("gRPC", _ask_grpc(grpc_address, artifact, headers, ca), artifact, variant)


def _served(client: httpx.Client, artifact: Artifact) -> str:
    """The variant that is served by default, once it is certain that it is this artifact's."""
    answer = client.get("/model")
    if answer.is_error:
        raise CheckError(f"{client.base_url} answered {answer.status_code}: {answer.text[:300]}")
    described = answer.json()
    if described["digest"] != artifact.digest:
        raise CheckError(f"{client.base_url} serves {described['digest']}, and the artifact is {artifact.digest}")
    return str(described["variant"])


def _ask_rest(client: httpx.Client, artifact: Artifact) -> dict[str, Array]:
    """POST the golden inputs as raw tensors."""
    golden = artifact.golden_inputs()
    tensors = [
        _header(name, array) | {"parameters": {"binary_data_size": array.nbytes}} for name, array in golden.items()
    ]
    head = json.dumps({"inputs": tensors}).encode()
    body = head + b"".join(_raw(array) for array in golden.values())
    sent = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    answer = client.post(f"/v2/models/{artifact.manifest.name}/infer", content=body, headers=sent)
    if answer.is_error:
        raise CheckError(f"REST: {client.base_url} answered {answer.status_code}: {answer.text[:300]}")
    return {
        output["name"]: np.asarray(output["data"], FROM_V2[output["datatype"]]).reshape(output["shape"])
        for output in answer.json()["outputs"]
    }


def _ask_grpc(address: str, artifact: Artifact, headers: Mapping[str, str], ca: Path | None) -> dict[str, Array]:
    """Call ``ModelInfer`` with the golden inputs as raw tensors."""
    golden = artifact.golden_inputs()
    request = pb.ModelInferRequest(
        model_name=artifact.manifest.name,
        inputs=[
            pb.ModelInferRequest.InferInputTensor(name=name, datatype=TO_V2[str(array.dtype)], shape=array.shape)
            for name, array in golden.items()
        ],
        raw_input_contents=[_raw(array) for array in golden.values()],
    )
    channel = (
        grpc.secure_channel(address, grpc.ssl_channel_credentials(ca.read_bytes()))
        if ca
        else grpc.insecure_channel(address)
    )
    with channel:
        try:
            answer = GRPCInferenceServiceStub(channel).ModelInfer(  # type: ignore[no-untyped-call]
                request, timeout=TIMEOUT_S, metadata=tuple(headers.items()), wait_for_ready=True
            )
        except grpc.RpcError as error:
            raise CheckError(f"gRPC: {address} answered {error.code().name}: {error.details()}") from None
    return {
        output.name: np.frombuffer(raw, np.dtype(FROM_V2[output.datatype]).newbyteorder("<")).reshape(
            list(output.shape)
        )
        for output, raw in zip(answer.outputs, answer.raw_output_contents, strict=True)
    }


def _header(name: str, array: Array) -> dict[str, object]:
    return {"name": name, "datatype": TO_V2[str(array.dtype)], "shape": list(array.shape)}


def _raw(array: Array) -> bytes:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()


def _compare(protocol: str, answer: Mapping[str, Array], artifact: Artifact, variant: str) -> str:
    """The largest difference as a sentence.

    Raises:
        CheckError: above the artifact's tolerance, or outputs that are missing or of another shape.
    """
    allowed = artifact.variant(variant).golden_atol
    worst = 0.0
    failures = []
    for name, wanted in artifact.golden_outputs(variant).items():
        given = answer.get(name)
        if given is None or given.shape != wanted.shape:
            failures.append(f"output {name!r} is {'missing' if given is None else f'of shape {list(given.shape)}'}")
            continue
        difference = float(np.max(np.abs(given.astype(np.float64) - wanted.astype(np.float64)), initial=0.0))
        worst = max(worst, difference)
        if not difference <= allowed:
            failures.append(f"output {name!r} differs by {difference:.3g}; {allowed:.3g} is allowed")
    if failures:
        raise CheckError(f"{protocol}: variant {variant} does not answer as it was packed: " + "; ".join(failures))
    return f"{protocol}: variant {variant} answers as it was packed (differs by {worst:.2g} of {allowed:.2g})"
