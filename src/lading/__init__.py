"""Lading: from a trained PyTorch model to a measured, monitored service.

The names a model's author needs. Everything else is imported from its own module.
"""

from lading.spec import VARIANTS, Budget, Evaluated, ModelSpec, Padding, Quantization, TensorSpec, Variant

__all__ = ["ModelSpec", "Evaluated", "TensorSpec", "Variant", "Quantization", "Padding", "Budget", "VARIANTS"]
__version__ = "0.2.0"
