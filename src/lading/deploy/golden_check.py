"""Send an artifact's golden requests to a running server, as a client does, and compare the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import quote

from lading.artifact import Artifact
from lading.errors import CheckError
from lading.protocol.client import ANYONE, Access, Client
from lading.spec import Array
from lading.tensors.agreement import max_abs_difference

TIMEOUT_S = 60.0


def check_server(artifact: Artifact, url: str, grpc_address: str | None, *, access: Access = ANYONE) -> Iterator[str]:
    """Compare a server's answers with the golden outputs, over REST and then gRPC.

    Args:
        artifact: the artifact that the server should serve.
        url: of its HTTP port.
        grpc_address: ``host:port``; ``None``: skip gRPC.
        access: key and certificate.

    Returns:
        A sentence per protocol.

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
    """The variant that is served by default, after a check of the digest."""
    described = client.get(f"/model?model={quote(artifact.manifest.name, safe='')}")
    if described["digest"] != artifact.digest:
        raise CheckError(f"{client.url} serves {described['digest']}, but the artifact is {artifact.digest}")
    return str(described["variant"])


def _compare(protocol: str, answer: Mapping[str, Array], artifact: Artifact, variant: str) -> str:
    """The largest difference as a sentence.

    Raises:
        CheckError: it is above the artifact's tolerance, or an output is missing or has another shape.
    """
    allowed = artifact.variant(variant).golden_atol
    worst = 0.0
    failures = []
    for name, wanted in artifact.golden_outputs(variant).items():
        given = answer.get(name)
        if given is None or given.shape != wanted.shape:
            found = "is missing" if given is None else f"has the shape {list(given.shape)}"
            failures.append(f"output {name!r} {found}; its golden shape is {list(wanted.shape)}")
            continue
        difference = max_abs_difference(given, wanted)
        worst = max(worst, difference)
        if not difference <= allowed:
            failures.append(f"output {name!r} differs by {difference:.3g}; the limit is {allowed:.3g}")
    if failures:
        raise CheckError(f"{protocol}: variant {variant} does not give the golden answers: " + "; ".join(failures))
    return (
        f"{protocol}: variant {variant} gives the golden answers (maximum difference {worst:.2g}, limit {allowed:.2g})"
    )
