"""A folder a stage, in order: train, prune, export, quantize, verify, pack."""
