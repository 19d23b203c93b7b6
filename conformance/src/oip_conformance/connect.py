"""From addresses to the models that are checked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from oip_conformance.grpc_client import GrpcClient
from oip_conformance.rest_client import RestClient
from oip_conformance.statement import Failed
from oip_conformance.subject import Subject
from oip_conformance.tensors import Tensor, from_json


def subjects_of(
    rest_url: str | None,
    grpc_address: str | None,
    models: Sequence[str] = (),
    *,
    inputs: Path | None = None,
    extensions: Sequence[str] = (),
    may_reload: bool = False,
    headers: Sequence[str] = (),
    timeout_s: float = 30.0,
    authority: Path | None = None,
) -> list[Subject]:
    """The models to check, at the addresses of a server.

    Args:
        rest_url: such as ``http://127.0.0.1:8080``.
        grpc_address: such as ``127.0.0.1:9000``.
        models: names; none: those that the server lists.
        inputs: a file with an inference request, whose inputs are sent.
        extensions: extensions to check although the server does not list them.
        may_reload: unload and load the models.
        headers: ``name: value`` of each, sent with every request.
        timeout_s: of one request.
        authority: PEM file of the certificate authority that signed the server's certificate.

    Raises:
        ValueError: no address, no model, a header without a colon, or a file without inputs.
    """
    if rest_url is None and grpc_address is None:
        raise ValueError("give --rest URL, --grpc HOST:PORT, or both")
    if not all(":" in header for header in headers):
        raise ValueError("a header is written as 'name: value'")
    sent = {name.strip(): value.strip() for name, _, value in (header.partition(":") for header in headers)}
    if authority is not None and not authority.is_file():
        raise ValueError(f"{authority} is not a file with a certificate")
    rest = RestClient(rest_url, sent, timeout_s, authority) if rest_url is not None else None
    grpc = GrpcClient(grpc_address, sent, timeout_s, authority) if grpc_address is not None else None
    try:
        names = list(models) or models_of(rest, grpc)
    except Failed as failure:
        raise ValueError(f"the server does not answer: {failure}") from None
    if not names:
        raise ValueError("the server lists no models; give --model NAME")
    tensors = read_inputs(inputs) if inputs is not None else None
    return [Subject(name, rest, grpc, inputs=tensors, extensions=extensions, may_reload=may_reload) for name in names]


def read_inputs(file: Path) -> list[Tensor]:
    """The inputs of a file that holds an inference request as JSON.

    Raises:
        ValueError: it holds none.
    """
    try:
        return [from_json(entry) for entry in json.loads(file.read_text())["inputs"]]
    except (Failed, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} holds no inference request with `inputs`: {error}") from None


def models_of(rest: RestClient | None, grpc: GrpcClient | None) -> list[str]:
    """Names of the server's models, where it lists them: the protocol itself has no call for it."""
    found: object = None
    if rest is not None:
        for answer in (rest.get("v2/models"), rest.post("v2/repository/index", {})):
            try:
                found = answer.json() if answer.status == 200 else None
            except Failed:
                found = None
            found = found.get("models") if isinstance(found, dict) else found
            if isinstance(found, list) and found:
                break
    elif grpc is not None:
        message = grpc.index().message
        found = [model.name for model in message.models] if message else None
    names = (
        [entry.get("name") if isinstance(entry, dict) else entry for entry in found] if isinstance(found, list) else []
    )
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
