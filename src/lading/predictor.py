"""``Predictor(artifact)(inputs) -> outputs``: what is verified is what is served."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from lading.artifact import Artifact
from lading.errors import ArtifactError, NotReadyError
from lading.spec import Array, TensorSpec
from lading.tensors.agreement import max_abs_difference
from lading.tensors.checks import check_inputs

# Set before ONNX Runtime is first imported: its wheel carries a telemetry endpoint.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_session(graph: Path | bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open an ONNX file, or the bytes of one, on the CPU.

    ``run`` releases the GIL and may be called from several threads at once; with ``threads=1`` there is no pool inside,
    so nothing spins and a container's CPU limit is kept.

    Raises:
        ArtifactError: ONNX Runtime cannot read the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # A plan of the memory for each shape that comes, with a block of its own in the arena: batches and graphs of many
    # sizes would fill it with blocks (27 MB for the cards model's batches of 1 to 8), and one size gains nothing by it.
    options.enable_mem_pattern = False
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's own exceptions share no public base.
        name = "the graph" if isinstance(graph, bytes) else graph
        raise ArtifactError(f"{name} cannot be opened by ONNX Runtime {ort.__version__}: {error}") from error


class Predictor:
    """One variant of an artifact, ready to run. Thread-safe.

    Args:
        artifact: a loaded artifact.
        variant: its name; the chosen one by default.
        threads: intra-op threads of the session.
    """

    def __init__(self, artifact: Artifact, variant: str | None = None, *, threads: int = 1) -> None:
        self.artifact = artifact
        self.packed = artifact.variant(variant)
        self.inputs: tuple[TensorSpec, ...] = artifact.manifest.inputs
        self.outputs: tuple[TensorSpec, ...] = artifact.manifest.outputs
        self.session = open_session(artifact.onnx_file(self.packed.variant.name), threads=threads)
        self._output_names = [tensor.name for tensor in self.outputs]
        missing = set(self._output_names) - {output.name for output in self.session.get_outputs()}
        if missing:
            raise ArtifactError(f"{self.packed.file} has no output {sorted(missing)[0]!r}, which the manifest names")

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch.

        Args:
            inputs: arrays by name, each with the dtype and shape of its TensorSpec, batch dim included.

        Returns:
            Arrays by output name.

        Raises:
            RequestError: a missing, unknown or misshapen tensor.
        """
        check_inputs(self.inputs, inputs)
        return self.run(inputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Like calling it, without the checks: for inputs that passed them already."""
        feed = {tensor.name: inputs[tensor.name] for tensor in self.inputs}
        return dict(zip(self._output_names, self.session.run(self._output_names, feed), strict=True))

    def check_golden(self) -> None:
        """Answer the golden inputs and compare.

        Raises:
            NotReadyError: this machine computes something else than the one that built the artifact.
        """
        answered = self(self.artifact.golden_inputs())
        for name, expected in self.artifact.golden_outputs(self.packed.variant.name).items():
            difference = max_abs_difference(answered[name], expected)
            if not difference <= self.packed.golden_atol:
                raise NotReadyError(
                    f"variant {self.packed.variant.name!r} does not reproduce its golden output {name!r} here: "
                    f"differs by {difference:.3g}, allowed {self.packed.golden_atol:.3g}; serve another variant, "
                    "or build the artifact on this kind of CPU"
                )
