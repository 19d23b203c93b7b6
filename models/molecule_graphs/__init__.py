"""Molecules as graphs: made up by valence rules, or QM9, behind the same interface."""

from models.molecule_graphs.features import FEATURES
from models.molecule_graphs.molecule_split import MoleculeSplit
from models.molecule_graphs.scores import error_ratio
from models.molecule_graphs.source import Source

__all__ = ["FEATURES", "MoleculeSplit", "Source", "error_ratio"]
