"""Lading next to its peers: the same ONNX model, the same request, the same cores."""
