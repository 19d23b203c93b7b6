"""The sections of the published texts that the statements refer to."""

from __future__ import annotations

from oip_conformance.statement import Section

_OIP = "https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol"
_TRITON = "https://github.com/triton-inference-server/server/blob/main/docs/protocol"


def _rest(title: str, anchor: str) -> Section:
    return Section("OIP REST", title, f"{_OIP}/inference_rest.md#{anchor}")


def _grpc(title: str, anchor: str) -> Section:
    return Section("OIP gRPC", title, f"{_OIP}/inference_grpc.md#{anchor}")


def _triton(name: str, file: str, title: str, anchor: str) -> Section:
    return Section(f"Triton {name}", title, f"{_TRITON}/{file}.md#{anchor}")


REST_PATHS = _rest("HTTP/REST", "httprest")
REST_PROBES = _rest("Health/Readiness/Liveness Probes", "healthreadinessliveness-probes")
REST_MODEL_READY = _rest("Model Ready Response JSON Object", "model-ready-response-json-object")
REST_SERVER_READY = _rest("Server Ready Response JSON Object", "server-ready-response-json-object")
REST_SERVER_LIVE = _rest("Server Live Response JSON Object", "server-live-response-json-objet")
REST_SERVER_METADATA = _rest("Server Metadata Response JSON Object", "server-metadata-response-json-object")
REST_SERVER_METADATA_ERROR = _rest(
    "Server Metadata Response JSON Error Object", "server-metadata-response-json-error-object"
)
REST_MODEL_METADATA = _rest("Model Metadata Response JSON Object", "model-metadata-response-json-object")
REST_MODEL_METADATA_ERROR = _rest(
    "Model Metadata Response JSON Error Object", "model-metadata-response-json-error-object"
)
REST_PLATFORMS = _rest("Platforms", "platforms")
REST_INFERENCE = _rest("Inference", "inference")
REST_REQUEST = _rest("Inference Request JSON Object", "inference-request-json-object")
REST_REQUEST_INPUT = _rest("Request Input", "request-input")
REST_REQUEST_OUTPUT = _rest("Request Output", "request-output")
REST_RESPONSE = _rest("Inference Response JSON Object", "inference-response-json-object")
REST_RESPONSE_OUTPUT = _rest("Response Output", "response-output")
REST_RESPONSE_ERROR = _rest("Inference Response JSON Error Object", "inference-response-json-error-object")
REST_PARAMETERS = _rest("Parameters", "parameters")
REST_TENSOR_DATA = _rest("Tensor Data", "tensor-data")
REST_DATATYPES = _rest("Tensor Data Types", "tensor-data-types")
REST_EXAMPLES = _rest("Inference Request Examples", "inference-request-examples")

GRPC_LIVE = _grpc("Server Live", "server-live")
GRPC_READY = _grpc("Server Ready", "server-ready")
GRPC_MODEL_READY = _grpc("Model Ready", "model-ready")
GRPC_HEALTH = _grpc("Health", "health")
GRPC_SERVER_METADATA = _grpc("Server Metadata", "server-metadata")
GRPC_MODEL_METADATA = _grpc("Model Metadata", "model-metadata")
GRPC_PLATFORMS = _grpc("Platforms", "platforms")
GRPC_INFERENCE = _grpc("Inference", "inference")
GRPC_PARAMETERS = _grpc("Parameters", "parameters")
GRPC_TENSOR_DATA = _grpc("Tensor Data", "tensor-data")
GRPC_DATATYPES = _grpc("Tensor Data Types", "tensor-data-types")
GRPC_OVERVIEW = _grpc("gRPC", "grpc")

BINARY_DATA = "binary_tensor_data"
CLASSIFICATION = "classification"
MODEL_REPOSITORY = "model_repository"
STATISTICS = "statistics"

BINARY_REQUEST = _triton("binary data", "extension_binary_data", "Binary Tensor Request", "binary-tensor-request")
BINARY_RAW = _triton("binary data", "extension_binary_data", "Raw Binary Request", "raw-binary-request")
BINARY_OVERVIEW = _triton(
    "binary data", "extension_binary_data", "Binary Tensor Data Extension", "binary-tensor-data-extension"
)
CLASSES = _triton("classification", "extension_classification", "Classification Extension", "classification-extension")
CLASSES_REST = _triton("classification", "extension_classification", "HTTP/REST", "httprest")
CLASSES_GRPC = _triton("classification", "extension_classification", "GRPC", "grpc")
REPOSITORY_INDEX = _triton("model repository", "extension_model_repository", "Index", "index")
REPOSITORY_LOAD = _triton("model repository", "extension_model_repository", "Load", "load")
REPOSITORY_UNLOAD = _triton("model repository", "extension_model_repository", "Unload", "unload")
REPOSITORY_OVERVIEW = _triton(
    "model repository", "extension_model_repository", "Model Repository Extension", "model-repository-extension"
)
REPOSITORY_GRPC = _triton("model repository", "extension_model_repository", "GRPC", "grpc")
STATS = _triton(
    "statistics", "extension_statistics", "Statistics Response JSON Object", "statistics-response-json-object"
)
STATS_ERROR = _triton(
    "statistics",
    "extension_statistics",
    "Statistics Response JSON Error Object",
    "statistics-response-json-error-object",
)
STATS_OVERVIEW = _triton("statistics", "extension_statistics", "Statistics Extension", "statistics-extension")
STATS_GRPC = _triton("statistics", "extension_statistics", "GRPC", "grpc-1")
