"""Exported networks against the oldest and the newest onnxruntime that pyproject.toml allows: `make matrix`."""
