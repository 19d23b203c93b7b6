"""Calls of Triton's extensions that this server does not offer, and what to use instead."""

from __future__ import annotations

from lading.errors import LadingError, NotOfferedError

_METADATA = "GET /v2/models/NAME (ModelMetadata over gRPC) says what a model takes and how it is run"
_SHARED_MEMORY = "send tensors in the request, as raw bytes where they are large"
_TRACING = "LADING_TRACING exports a span of each request over OTLP"
_LOGGING = "LADING_LOG_LEVEL and LADING_ACCESS_LOG set the log when the server starts"
_GENERATION = "send an inference request to /v2/models/NAME/infer"

INSTEAD = {
    "ModelConfig": _METADATA,
    "SystemSharedMemoryStatus": _SHARED_MEMORY,
    "SystemSharedMemoryRegister": _SHARED_MEMORY,
    "SystemSharedMemoryUnregister": _SHARED_MEMORY,
    "CudaSharedMemoryStatus": _SHARED_MEMORY,
    "CudaSharedMemoryRegister": _SHARED_MEMORY,
    "CudaSharedMemoryUnregister": _SHARED_MEMORY,
    "TraceSetting": _TRACING,
    "LogSettings": _LOGGING,
}
"""By the method's name over gRPC."""
_MODEL = ("/v2/models/{name}", "/v2/models/{name}/versions/{version}")
PATHS = {
    **{f"{model}/config": _METADATA for model in _MODEL},
    **{f"{model}/trace/setting": _TRACING for model in _MODEL},
    "/v2/trace/setting": _TRACING,
    "/v2/logging": _LOGGING,
    **{f"/v2/{kind}sharedmemory/{{rest:path}}": _SHARED_MEMORY for kind in ("system", "cuda")},
    **{f"{model}/{call}": _GENERATION for model in _MODEL for call in ("generate", "generate_stream")},
}
"""By the path over HTTP, with ``{name}`` for each part that varies."""


def not_offered(call: str, instead: str) -> LadingError:
    """The error for a call.

    Args:
        call: as the client knows it: a method, or a path.
        instead: what to use.
    """
    return NotOfferedError(f"this server does not offer {call}: {instead}")
