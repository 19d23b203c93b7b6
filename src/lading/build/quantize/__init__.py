"""Stage 4: graphs of lower precision."""
