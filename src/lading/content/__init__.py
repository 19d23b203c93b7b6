"""Content types: what a tensor's bytes stand for."""
