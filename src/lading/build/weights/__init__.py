"""Trained weights from any file: read without running code, and fitted to a module by the names of its tensors."""
