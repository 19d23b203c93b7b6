"""Stage 3: export to ONNX, and prove that it answers as torch does."""
