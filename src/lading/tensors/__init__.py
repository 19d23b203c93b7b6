"""Arrays: check, join, draw at random and compare them."""

from lading.tensors.checks import check_inputs
from lading.tensors.ragged import collate, split

__all__ = ["check_inputs", "collate", "split"]
