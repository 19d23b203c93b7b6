"""The predicted properties of a molecule, with their units."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rdkit import Chem
from rdkit.Chem import QED, GraphDescriptors, rdMolDescriptors


@dataclass(frozen=True)
class Property:
    """One number of a molecule."""

    name: str
    unit: str | None
    description: str


def _logp(molecule: Chem.Mol) -> float:
    return float(rdMolDescriptors.CalcCrippenDescriptors(molecule)[0])


def _refractivity(molecule: Chem.Mol) -> float:
    return float(rdMolDescriptors.CalcCrippenDescriptors(molecule)[1])


COMPUTED: dict[Property, Callable[[Chem.Mol], float]] = {
    Property("logp", None, "octanol-water partition coefficient, log10 (Wildman and Crippen, 1999)"): _logp,
    Property("molar_refractivity", "cm3/mol", "molar refractivity (Wildman and Crippen, 1999)"): _refractivity,
    Property("tpsa", "A2", "topological polar surface area (Ertl et al., 2000)"): rdMolDescriptors.CalcTPSA,
    Property("surface_area", "A2", "approximate surface area (Labute, 2000)"): rdMolDescriptors.CalcLabuteASA,
    Property("complexity", None, "structural complexity index (Bertz, 1981)"): GraphDescriptors.BertzCT,
    Property("qed", None, "quantitative estimate of drug-likeness, 0 to 1 (Bickerton et al., 2012)"): QED.qed,
}
"""Properties of generated molecules. A is the angstrom, 1e-10 m."""

QM9 = (
    Property("mu", "D", "dipole moment"),
    Property("alpha", "a0^3", "isotropic polarizability"),
    Property("homo", "eV", "energy of the highest occupied molecular orbital"),
    Property("lumo", "eV", "energy of the lowest unoccupied molecular orbital"),
    Property("gap", "eV", "gap between HOMO and LUMO"),
    Property("r2", "a0^2", "electronic spatial extent"),
    Property("zpve", "eV", "zero point vibrational energy"),
    Property("u0", "eV", "internal energy at 0 K"),
    Property("u", "eV", "internal energy at 298.15 K"),
    Property("h", "eV", "enthalpy at 298.15 K"),
    Property("g", "eV", "free energy at 298.15 K"),
    Property("cv", "cal/(mol K)", "heat capacity at 298.15 K"),
    Property("u0_atom", "eV", "atomization energy at 0 K"),
    Property("u_atom", "eV", "atomization energy at 298.15 K"),
    Property("h_atom", "eV", "atomization enthalpy at 298.15 K"),
    Property("g_atom", "eV", "atomization free energy at 298.15 K"),
    Property("a", "GHz", "rotational constant"),
    Property("b", "GHz", "rotational constant"),
    Property("c", "GHz", "rotational constant"),
)
"""QM9's targets in the order and units of ``torch_geometric.datasets.QM9``."""


def compute(molecule: Chem.Mol) -> NDArray[np.float64]:
    """float64 (len(COMPUTED),)."""
    return np.array([value(molecule) for value in COMPUTED.values()], np.float64)
