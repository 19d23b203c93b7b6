"""Stage 1: train."""
