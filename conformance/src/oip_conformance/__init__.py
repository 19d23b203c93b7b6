"""A conformance suite of the Open Inference Protocol: statements of its text, run on any server."""

from oip_conformance.statement import Level, Section, Statement

__all__ = ["Level", "Section", "Statement", "__version__"]
__version__ = "0.1.0"
