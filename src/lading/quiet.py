"""Keep the export and quantization libraries from talking about their own workings, which no user can act on."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator

import onnxruntime as ort

_WARNING, _ERROR = 2, 3
"""ONNX Runtime's severities; warning is its default."""
_CHATTERS = ("root", "torch.onnx", "torch.export", "onnxscript", "onnx_ir", "onnxruntime.quantization")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hold back prints, warnings and log records while the block runs; exceptions pass."""
    loggers = [logging.getLogger(None if name == "root" else name) for name in _CHATTERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    ort.set_default_logger_severity(_ERROR)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        ort.set_default_logger_severity(_WARNING)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
