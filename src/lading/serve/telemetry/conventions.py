"""OpenTelemetry's names for a request and its outcome: semantic conventions 1.45, where HTTP and RPC are stable.

https://opentelemetry.io/docs/specs/semconv/. Nothing of OpenTelemetry is imported here.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping

import grpc

from lading.serve.grpc.reading import STATUS

Attributes = Mapping[str, str | int]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Bounds of the buckets that the conventions ask for."""
_HTTP = ("http.request.method", "http.route", "url.scheme", "network.protocol.version")
_RPC_ERRORS = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_WENT_AWAY = 499
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(:(?P<port>[0-9]{1,5}))?")


def http_request(scheme: str, method: str, route: str, path: str, *, host: bytes, version: str) -> Attributes:
    """What is known of an HTTP request when its headers have arrived.

    Args:
        scheme: ``http`` or ``https``.
        method: a known one.
        route: the path with names for the parts that vary.
        path: as it was sent, shortened.
        host: the header; left out if it is no host.
        version: of HTTP.
    """
    known: dict[str, str | int] = {
        "http.request.method": method,
        "http.route": route,
        "url.path": path,
        "url.scheme": scheme,
        "network.protocol.version": version,
    }
    found = _HOST.fullmatch(host.decode("latin-1"))
    if found is not None:
        known["server.address"] = found["name"].strip("[]")
        if found["port"]:
            known["server.port"] = int(found["port"])
    return known


def rpc_request(service: str, method: str, *, host: str, port: int | str) -> Attributes:
    """What is known of a gRPC call when its metadata have arrived.

    The stable names are ``rpc.system.name``, ``rpc.method`` with the service in it, and ``rpc.response.status_code``.
    Older dashboards have ``rpc.system``, ``rpc.service``, ``rpc.method`` without it, and ``rpc.grpc.status_code``. Both
    are sent; ``OTEL_SEMCONV_STABILITY_OPT_IN`` decides about ``rpc.method``: the stable form with ``rpc/dup``, and with
    ``rpc``, which leaves the older names out.

    Args:
        service: full name.
        method: its name in the service.
        host: that the port listens on.
        port: its number; left out if it is 0 or none.
    """
    stable, older = rpc_names()
    known: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": f"{service}/{method}" if stable else method}
    if older:
        known |= {"rpc.system": "grpc", "rpc.service": service}
    known["server.address"] = socket.gethostname() if host in ("", "0.0.0.0", "::") else host
    if isinstance(port, int) and port:
        known["server.port"] = port
    return known


def rpc_names() -> tuple[bool, bool]:
    """Whether ``rpc.method`` has its stable form, and whether the older names are sent."""
    chosen = {one.strip() for one in os.environ.get("OTEL_SEMCONV_STABILITY_OPT_IN", "").split(",")}
    return bool(chosen & {"rpc", "rpc/dup"}), "rpc/dup" in chosen or "rpc" not in chosen


def is_rpc(request: Attributes) -> bool:
    """Whether the attributes are those of a call, not of an HTTP request."""
    return "rpc.system.name" in request


def outcome_of(request: Attributes, status: int) -> Attributes:
    """How a request ended.

    Args:
        request: what :func:`http_request` or :func:`rpc_request` returned.
        status: of HTTP, also for a call; 499 when the client went away.
    """
    if not is_rpc(request):
        known: dict[str, str | int] = {"http.response.status_code": status}
        return known | {"error.type": str(status)} if status >= 500 else known
    code = grpc.StatusCode.OK if status == 200 else STATUS.get(status, grpc.StatusCode.INTERNAL)
    code = grpc.StatusCode.CANCELLED if status == _WENT_AWAY else code
    known = {"rpc.response.status_code": code.name}
    if rpc_names()[1]:
        known["rpc.grpc.status_code"] = code.value[0]
    return known | {"error.type": code.name} if code.name in _RPC_ERRORS else known


def measured(request: Attributes, name: str, status: int) -> Attributes:
    """The attributes of a duration: the stable ones only, each with few values.

    Args:
        request: as for :func:`outcome_of`.
        name: of the span; for a call, service and method.
        status: as for :func:`outcome_of`.
    """
    outcome = {key: value for key, value in outcome_of(request, status).items() if key != "rpc.grpc.status_code"}
    if is_rpc(request):
        return {"rpc.system.name": "grpc", "rpc.method": name, **outcome}
    return {**{key: request[key] for key in _HTTP}, **outcome}
