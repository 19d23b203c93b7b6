"""Sessions on graphs that are in memory only."""

from __future__ import annotations

import onnx
import onnxruntime as ort

from lading.errors import QuantizationError
from lading.machine import usable_cpus


def open_graph(model: onnx.ModelProto) -> ort.InferenceSession:
    """Open a graph on all usable CPUs.

    Raises:
        QuantizationError: ONNX Runtime has no kernel for it.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = max(1, int(usable_cpus()))
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own exceptions share no public base.
        raise QuantizationError(f"ONNX Runtime {ort.__version__} cannot run the graph: {error}") from error
