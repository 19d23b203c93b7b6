"""Two releases behind one route: move requests to the new one step by step, and back when it is worse."""
