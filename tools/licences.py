"""Licences of what the images install, as the packages state them, and the list of those that are accepted."""

from __future__ import annotations

import importlib.metadata
import re
from collections import defaultdict
from pathlib import Path

from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
IMAGES = {
    "serve": "server",
    "bento": "server",
    "drift": "drift",
    "load": "load",
    "frontend": "frontend",
    "build": "trainer",
    "batch": "batch",
}
"""Lock files, and the image that installs each."""
LINUX = {
    **{"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "platform_machine": "x86_64"},
    **{"python_version": "3.11", "python_full_version": "3.11.0", "platform_python_implementation": "CPython"},
    **{"implementation_name": "cpython", "extra": ""},
}
"""The images' platform: locks also name packages for others."""
SPDX = {
    "MIT License": "MIT",
    "Apache Software License": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "BSD": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "Python Software Foundation License": "PSF-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "ISC License (ISCL)": "ISC",
    "SIL Open Font License 1.1 (OFL-1.1)": "OFL-1.1",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
}
"""What packages wrote before there were SPDX names."""
UNSTATED = {"cuda-toolkit": "LicenseRef-NVIDIA-Proprietary", "font-fjallaone": "OFL-1.1"}
"""Packages whose metadata name no licence, with the licence of what they hold."""
ACCEPTED = {
    *("0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSD-3-Clause-Clear", "BSL-1.0", "CC0-1.0", "ISC", "MIT"),
    *("CNRI-Python", "MIT-0", "MIT-CMU", "MPL-2.0", "OFL-1.1", "PSF-2.0", "TCL", "ZPL-2.1", "Zlib"),
}
"""Licences that every image may hold: permissive ones, and MPL, which covers only the files that carry it."""
ACCEPTED_IN = {
    "LicenseRef-NVIDIA-Proprietary": {"trainer"},
    "LGPL-2.1-or-later": {"server", "drift", "load", "batch", "trainer"},
}
"""Licences that some images may hold. CUDA's libraries may be used and passed on unchanged with a program. LGPL covers
the library alone, which resamples audio: it is a package of its own, unchanged, that anybody can replace."""


def locked() -> dict[str, set[str]]:
    """Every package that an image installs, with the images."""
    found: dict[str, set[str]] = defaultdict(set)
    for lock, image in IMAGES.items():
        for line in (REQUIREMENTS / f"{lock}.txt").read_text().replace("\\\n", " ").splitlines():
            if not re.match(r"[a-zA-Z0-9]", line):
                continue
            requirement = Requirement(line.partition(" --hash")[0])
            if requirement.marker is None or requirement.marker.evaluate(LINUX):
                found[requirement.name.lower()].add(image)
    return dict(sorted(found.items()))


def licence(package: str) -> str:
    """An installed package's licence as an SPDX expression, or what its metadata say."""
    metadata = importlib.metadata.metadata(package)
    if stated := metadata.get_all("License-Expression"):
        return str(stated[0])
    kinds = [kind.rpartition(" :: ")[2] for kind in metadata.get_all("Classifier") or [] if kind.startswith("License")]
    words = kinds or [str(one).splitlines()[0] for one in metadata.get_all("License") or ["unknown"]]
    return " AND ".join(dict.fromkeys(UNSTATED.get(package) or SPDX.get(word, word) for word in words))


def refused(expression: str, images: set[str]) -> set[str]:
    """The licences of an expression that these images may not hold. Of licences joined by OR, one must be accepted."""
    parts = re.sub(r"[()]| WITH [\w-]+", "", expression).split(" AND ")
    bad = set()
    for part in parts:
        choices = part.split(" OR ")
        if not any(one in ACCEPTED or images <= ACCEPTED_IN.get(one, set()) for one in choices):
            bad.add(part)
    return bad


def licences_markdown() -> str:
    """The page docs/licences.md."""
    rows = [f"| {name} | {licence(name)} | {', '.join(sorted(images))} |" for name, images in locked().items()]
    return "\n".join(
        [
            "# Licences\n",
            "Lading itself is Apache-2.0. Its images install the packages below: those that the lock files in",
            "`requirements/` name for Linux. The licence is the one in the package's own metadata; the Debian packages",
            "of the base image have theirs in `/usr/share/doc`. `tools/licences.py` lists the accepted licences. A",
            "package with another licence fails `make test`.\n",
            "| package | licence | images |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )
