"""Forty kinds of models for the study of decision 38: networks, tables, and ONNX files that packages ship."""
