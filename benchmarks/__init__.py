"""Lading beside its peers: the same ONNX model, the same photo, the same core."""
