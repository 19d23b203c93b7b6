"""The statements, in the order of the texts. Importing this package fills in the list of them."""

from oip_conformance.statements import (  # noqa: F401, I001 - the order of the list
    rest_health,
    rest_metadata,
    rest_request,
    rest_response,
    rest_mistakes,
    grpc_health,
    grpc_inference,
    grpc_mistakes,
    binary_data,
    classification,
    repository,
    statistics,
)
