"""Does a server grow with the shapes that it sees? Decision 22: 100,000 graphs, each of another shape, leave none.

    python -m benchmarks.studies.0022_ragged_memory artifacts/molecules

Sends graphs of random sizes over REST and gRPC, notes the server's memory, and fits a line to all but the beginning.
Exit code 1 when the line rises, or the memory passes the limit that ``lading values`` writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import grpc
import httpx
import numpy as np
import typer
from rich.progress import track

from benchmarks.server.bench import console
from benchmarks.server.soak import measure, serving
from lading.artifact import Artifact
from lading.deploy.values import plan
from lading.protocol.client_codec import binary_request, grpc_request, predict_request
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.spec import BATCH, Array
from lading.tensors.random import random_inputs

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
SAMPLES = 100
WARM_UP = 0.3
"""Share of the requests before the line starts, while pools and arenas fill."""


def graph(artifact: Artifact, largest: int, rng: np.random.Generator) -> dict[str, Array]:
    """One example whose dims have random sizes, small ones as often as large ones; without owners."""
    inputs = [spec for spec in artifact.manifest.inputs if not spec.owner_of]
    dims = {dim for spec in inputs for dim in spec.shape if isinstance(dim, str)}
    most = {str(spec.shape[spec.ragged_axis]): spec.max_rows for spec in inputs if spec.max_rows}
    sizes = {dim: int(np.exp(rng.uniform(0, np.log(min(largest, most.get(dim, largest)))))) for dim in sorted(dims)}
    return random_inputs(inputs, sizes | {BATCH: 1}, rng)


@app.command()
def main(
    artifact: Annotated[Path, typer.Argument(help="a model with dims of any size", exists=True, file_okay=False)],
    requests: Annotated[int, typer.Option(help="requests to send")] = 100_000,
    largest: Annotated[int, typer.Option(help="largest size of a dim")] = 1000,
    level: Annotated[float, typer.Option(help="megabytes by which a line may rise that counts as level")] = 2.0,
) -> None:
    """Print the slope of the server's memory, and its maximum next to the limit."""
    loaded = Artifact.load(artifact)
    limit_mb = plan(loaded, rate=1, bento=False).memory_mib * 2**20 / 1e6
    name, rng, memory = loaded.manifest.name, np.random.default_rng(0), list[float]()
    each = max(1, requests // SAMPLES)
    with (
        serving(artifact) as (pid, url, target),
        httpx.Client(base_url=url, timeout=60) as client,
        grpc.insecure_channel(target) as channel,
    ):
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        for number in track(range(requests), console=console, transient=True):
            inputs = graph(loaded, largest, rng)
            if number % 3 == 0:
                stub.ModelInfer(grpc_request(name, inputs), timeout=60)
            else:
                asked = binary_request(name, inputs) if number % 3 == 1 else predict_request(inputs)
                answer = client.post(asked.path, content=asked.content, headers=dict(asked.headers))
                assert answer.status_code == 200, answer.text
            if number % each == each - 1:
                memory.append(measure(pid)[0])
    steady = np.array(memory[int(WARM_UP * len(memory)) :])
    share = np.linspace(0.0, 1.0, len(steady))
    rise = float(np.polyfit(share, steady, 1)[0]) if len(steady) > 1 else 0.0
    console.print(
        f"{loaded.manifest.name}, {requests} requests of 1 to {largest}: the line rises by {rise:+.2f} MB in the last "
        f"{1 - WARM_UP:.0%} of them; memory at most {max(memory):.0f} MB, the limit is {limit_mb:.0f} MB"
    )
    raise typer.Exit(int(rise > level or max(memory) > limit_mb))


if __name__ == "__main__":
    app()
