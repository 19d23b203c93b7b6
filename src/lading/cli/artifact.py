"""Commands that read, copy, compare or check an artifact."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from lading.cli.access import Ca, Key
from lading.cli.terminal import console


def inspect(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    provenance: Annotated[
        bool, typer.Option("--provenance", help="show the signed statements about it, back to the data")
    ] = False,
) -> None:
    """Verify an artifact's checksums and show its contents.

    Example: `lading inspect artifacts/cards`

    Example: `lading inspect artifacts/cards --provenance`
    """
    from lading.artifact import Artifact
    from lading.build.provenance_tree import provenance_tree
    from lading.build.verify.tables import describe

    loaded = Artifact.load(artifact, trusted=())  # what is shown says who signed it, trusted or not
    console().print(provenance_tree(loaded) if provenance else describe(loaded))


def report(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    out: Annotated[Path, typer.Option("--out", "-o", help="HTML file to write")] = Path("report.html"),
) -> None:
    """Write an artifact's measurements as one HTML page that needs no network.

    Example: `lading report artifacts/cards --out report.html`
    """
    from lading.artifact import Artifact
    from lading.build.verify.report import write_artifact_report

    write_artifact_report(Artifact.load(artifact), out)
    console().print(f"report: {out}")


def fetch(
    uri: Annotated[str, typer.Argument(help="gs://, s3://, az://, https:// or a folder; oci://REGISTRY/NAME:TAG")],
    digest: Annotated[str, typer.Option(help="required digest, sha256:..., as `lading inspect` shows it")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to create")],
) -> None:
    """Copy an artifact to this machine, and verify its digest. Nothing is left of a copy that fails.

    Example: `lading fetch gs://models/cards --digest sha256:... --out artifacts/cards`
    """
    from lading.deploy.fetch import fetch as run

    artifact = run(uri, digest, out)
    console().print(f"artifact: {artifact.path} ({artifact.digest[:19]}), serving {artifact.manifest.chosen}")


def values(
    artifact: Annotated[Path, typer.Argument(help="artifact folder, for example artifacts/cards")],
    rate: Annotated[float, typer.Option(min=0.001, help="requests per second to plan for")] = 100.0,
    cpus: Annotated[int, typer.Option(min=1, max=128, help="CPUs of one pod")] = 1,
    variant: Annotated[str | None, typer.Option(help="variant to serve; default: the one that verify chose")] = None,
    overhead_ms: Annotated[
        float | None,
        typer.Option(min=0.0, help="CPU time per request besides the model; default: 1.5 for pictures, else 0.3"),
    ] = None,
    bento: Annotated[bool, typer.Option(help="run BentoML too, on port 3000")] = True,
    repository: Annotated[str | None, typer.Option(help="image name without tag; default: the model's name")] = None,
    cloud_run: Annotated[
        Literal["http", "grpc"] | None,
        typer.Option(help="print a Cloud Run service for these clients instead of chart values"),
    ] = None,
) -> None:
    """Print chart values computed from an artifact: digest, resources, and number of pods for a rate.

    Example: `lading values artifacts/cards --rate 500 > values.yaml`

    Example: `lading values artifacts/cards --cloud-run http > cards.yaml`
    """
    from lading.artifact import Artifact
    from lading.deploy.cloud_run import cloud_run_yaml
    from lading.deploy.values import image_tag, plan, release_name, values_yaml

    loaded = Artifact.load(artifact)
    planned = plan(loaded, rate=rate, cpus=cpus, variant=variant, overhead_ms=overhead_ms, bento=bento)
    if cloud_run is None:
        sys.stdout.write(values_yaml(loaded, planned, repository=repository))
        return
    image = f"{repository or release_name(loaded.manifest.name)}:{image_tag(loaded)}"
    sys.stdout.write(cloud_run_yaml(loaded, planned, image=image, grpc=cloud_run == "grpc"))


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="artifact folder, or address of a running server")],
    b: Annotated[str, typer.Argument(metavar="B", help="same as A")],
    inputs: Annotated[Path | None, typer.Option(help="artifact whose golden inputs are sent; default: A or B")] = None,
    variant_a: Annotated[str | None, typer.Option(help="variant of A, if it is an artifact")] = None,
    variant_b: Annotated[str | None, typer.Option(help="variant of B, if it is an artifact")] = None,
    min_agreement: Annotated[float, typer.Option(min=0, max=1, help="minimum share of rows that agree")] = 1.0,
    tolerance: Annotated[float | None, typer.Option(min=0, help="maximum difference; default: no limit")] = None,
    key: Key = None,
    ca: Ca = None,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file for the comparison")] = None,
) -> None:
    """Send the same inputs to two artifacts or servers, and compare answers and latency.

    Exit code 3 when they differ by more than the tolerance.

    Example: `lading compare artifacts/cards http://127.0.0.1:8080`

    Example: `lading compare artifacts/cards artifacts/cards --variant-a fp32 --tolerance 0.2`

    Example: `lading compare artifacts/cards https://models.example.com --key keys.txt`
    """
    from lading.deploy.compare import compare as run
    from lading.deploy.compare import comparison_table
    from lading.errors import GateRefusedError
    from lading.protocol.client import Access

    found = run(a, b, inputs, (variant_a, variant_b), access=Access(key, ca))
    console().print(comparison_table(found))
    if out:
        out.write_text(found.model_dump_json(indent=2) + "\n")
    if found.agreement < min_agreement:
        raise GateRefusedError(
            f"they agree on {found.agreement:.2%} of the rows; at least {min_agreement:.2%} is required"
        )
    if tolerance is not None and not found.max_difference <= tolerance:
        raise GateRefusedError(f"they differ by {found.max_difference:.3g}; at most {tolerance:g} is allowed")


def check(
    artifacts: Annotated[
        list[Path], typer.Argument(help="artifact folders, or folders of them, such as artifacts/cards")
    ],
    url: Annotated[str, typer.Option(help="address of the HTTP port")] = "http://127.0.0.1:8080",
    grpc: Annotated[str, typer.Option(help="address of the gRPC port, or off")] = "127.0.0.1:9000",
    key: Key = None,
    ca: Ca = None,
) -> None:
    """Send the golden requests of artifacts to a running server over REST and gRPC, and compare the answers.

    Example: `lading check artifacts/cards --url http://127.0.0.1:8080 --grpc 127.0.0.1:9000`
    """
    from lading.artifact import MANIFEST, Artifact
    from lading.deploy.golden_check import check_server
    from lading.protocol.client import Access

    address = None if grpc == "off" else grpc
    files = [file for folder in artifacts for file in sorted(folder.glob(f"*/{MANIFEST}")) or [folder / MANIFEST]]
    for file in files:
        artifact = Artifact.load(file.parent)
        for line in check_server(artifact, url, address, access=Access(key, ca)):
            console().print(f"{artifact.manifest.name}: {line}" if len(files) > 1 else line, highlight=False)
