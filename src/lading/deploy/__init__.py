"""Tools for running servers and clusters."""
