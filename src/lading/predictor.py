"""``Predictor(artifact)(inputs) -> outputs``. Verify, scoring and servers all use it, so they get the same answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import onnxruntime as ort

from lading.answers import aligned, broken_promise
from lading.artifact import Artifact
from lading.artifact.graph_versions import graph_versions
from lading.errors import ArtifactError, NotReadyError
from lading.spec import Array, TensorSpec
from lading.tensors.agreement import max_abs_difference
from lading.tensors.checks import check_inputs

# The wheel of ONNX Runtime has telemetry; this turns it off.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def open_session(graph: Path | bytes, *, threads: int = 1) -> ort.InferenceSession:
    """Open an ONNX file, or its bytes, on the CPU.

    ``run`` releases the GIL, and several threads may call it at the same time. With ``threads=1`` it has no thread
    pool, so nothing spins, and a container stays within its CPU limit.

    Raises:
        ArtifactError: ONNX Runtime cannot read the graph.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # With this option, ONNX Runtime keeps a memory block per input shape. Batches and graphs of many sizes would fill
    # the arena (27 MB for the cards model at batches of 1 to 8), and a single size is no faster with it.
    options.enable_mem_pattern = False
    options.log_severity_level = 4  # its errors are raised, too
    try:
        return ort.InferenceSession(
            graph if isinstance(graph, bytes) else str(graph), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # ONNX Runtime's exceptions have no public base class
        name = "the graph" if isinstance(graph, bytes) else graph
        if too_new := _too_new(graph):
            raise ArtifactError(f"{name} is too new: {too_new}") from error
        raise ArtifactError(f"{name} cannot be opened by ONNX Runtime {ort.__version__}: {error}") from error


def _too_new(graph: Path | bytes) -> str | None:
    try:
        return graph_versions(graph).too_new_for(ort.__version__)
    except (ValueError, OSError):  # the runtime's own reason is shown
        return None


class Predictor:
    """One variant of an artifact, ready to run. Thread-safe.

    Args:
        artifact: a loaded artifact.
        variant: name of the variant; default: the chosen one.
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
            raise ArtifactError(
                f"{self.packed.file} has no output {sorted(missing)[0]!r}, but the manifest lists it; "
                "build the artifact again"
            )

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run a batch.

        Args:
            inputs: arrays by name, each with the dtype and shape of its TensorSpec, batch dim included.

        Returns:
            Arrays by output name.

        Raises:
            RequestError: a tensor is missing, unknown, or has another dtype or shape.
        """
        check_inputs(self.inputs, inputs)
        return self.run(inputs)

    def run(self, inputs: Mapping[str, Array], options: ort.RunOptions | None = None) -> dict[str, Array]:
        """Run a batch without the checks, for inputs that passed them already. The options can stop the run."""
        feed = {tensor.name: inputs[tensor.name] for tensor in self.inputs}
        return dict(zip(self._output_names, self.session.run(self._output_names, feed, options), strict=True))

    def check_golden(self) -> None:
        """Answer the golden inputs and compare.

        Raises:
            NotReadyError: this machine's outputs differ from those of the machine that built the artifact.
        """
        answered = self(self.artifact.golden_inputs())
        specs = {spec.name: spec for spec in self.outputs}
        for name, expected in self.artifact.golden_outputs(self.packed.variant.name).items():
            difference = max_abs_difference(aligned(specs[name], expected, answered[name]), expected)
            if not difference <= self.packed.golden_atol:
                raise NotReadyError(
                    f"variant {self.packed.variant.name!r} does not reproduce its golden output {name!r} here: "
                    f"differs by {difference:.3g}, allowed {self.packed.golden_atol:.3g}; serve another variant, "
                    "or build the artifact on this kind of CPU"
                )
        why = broken_promise(self.outputs, answered)
        if why is not None:
            raise NotReadyError(f"variant {self.packed.variant.name!r} has a golden answer that is wrong here: {why}")
