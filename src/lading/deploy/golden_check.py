"""Send a running server the artifact's golden requests, as a client does, and compare the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from lading.artifact import Artifact
from lading.errors import CheckError
from lading.protocol.client import ANYONE, Access, Client
from lading.spec import Array

TIMEOUT_S = 60.0


def check_server(artifact: Artifact, url: str, grpc_address: str | None, *, access: Access = ANYONE) -> Iterator[str]:
    """Compare a server's answers with the golden ones, one protocol after the other.

    Args:
        artifact: what should be served.
        url: of its HTTP port.
        grpc_address: ``host:port``; ``None`` leaves gRPC out.
        access: key and certificate.

    Returns:
        A sentence for each protocol that agrees.

    Raises:
        CheckError: the server serves another artifact, or answers differently.
        ClientError: the server does not answer, or refuses.
        SettingsError: the file of keys or the certificate cannot be used.
    """
    name, golden = artifact.manifest.name, artifact.golden_inputs()
    with Client(url, grpc_address, access=access, timeout_s=TIMEOUT_S) as client:
        variant = _served(client, artifact)
        yield _compare("REST", client.infer(name, golden), artifact, variant)
        if grpc_address is not None:
            yield _compare("gRPC", client.infer_grpc(name, golden), artifact, variant)


def _served(client: Client, artifact: Artifact) -> str:
    """The variant that is served by default, once it is certain that it is this artifact's."""
    described = client.get("/model")
    if described["digest"] != artifact.digest:
        raise CheckError(f"{client.url} serves {described['digest']}, and the artifact is {artifact.digest}")
    return str(described["variant"])


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
