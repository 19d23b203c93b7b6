"""The gRPC port."""

import os

# gRPC writes what clients send wrongly to standard error, in a format of its own. Clients get it as an answer.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
