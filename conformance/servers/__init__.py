"""Servers of other projects and Lading with the same two models, and what the suite says about each."""
