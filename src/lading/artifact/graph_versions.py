"""The IR and opsets of an ONNX file, and which releases of ONNX Runtime read it."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lading.artifact.wire import fields

ONNX, ML = "", "ai.onnx.ml"
"""Domains whose operators every build of ONNX Runtime has."""
_NEWEST = {
    # Release: newest IR, opset of ONNX, opset of ai.onnx.ml. Columns of docs/Versioning.md in onnxruntime's repository.
    # The numbers were measured by opening graphs of every IR and opset in the last wheel of every release. A release
    # that is not listed reads what the one before it reads. A newer opset is refused, whatever operators a graph has.
    (1, 15): (9, 18, 3),
    (1, 16): (9, 19, 3),
    (1, 17): (9, 20, 4),
    (1, 18): (10, 21, 5),
    (1, 21): (10, 22, 5),
    (1, 23): (11, 23, 5),
    (1, 24): (13, 25, 5),
    (1, 25): (13, 26, 5),
    (1, 32): (14, 28, 5),
}
_LAST = (1, 32)
"""The newest release that was measured."""
_IR, _OPSET, _DOMAIN, _VERSION = 1, 8, 1, 2
"""Field numbers of onnx.proto3: ModelProto's, then OperatorSetIdProto's."""


@dataclass(frozen=True)
class GraphVersions:
    """What a file says about itself."""

    ir: int
    opsets: Mapping[str, int]
    """By domain; ``""`` is ONNX's own."""

    def __str__(self) -> str:
        named = [f"opset {self.opsets[ONNX]}"] if ONNX in self.opsets else []
        named += [f"{domain} {version}" for domain, version in self.opsets.items() if domain]
        return ", ".join([f"IR {self.ir}", *named])

    def loads_in(self) -> str:
        """The oldest release that reads it: a clause."""
        oldest = next((release for release, newest in _NEWEST.items() if not self._beyond(newest)), None)
        if oldest is None:
            return f"loads in no onnxruntime up to {_shown(_LAST)}"
        others = " and ".join(sorted(domain for domain in self.opsets if domain not in (ONNX, ML)))
        built = f" that has the operators of {others}" if others else ""
        return f"loads in onnxruntime >= {_shown(oldest)}{built}"

    def too_new_for(self, runtime: str) -> str | None:
        """What a release of ONNX Runtime does not read of it, and what to do: a clause; ``None`` if nothing is known.

        Args:
            runtime: its version, such as ``1.24.1``.
        """
        major, minor = (int(part) for part in runtime.split(".")[:2])
        older = [release for release in _NEWEST if release <= (major, minor)]
        beyond = self._beyond(_NEWEST[older[-1]]) if older and (major, minor) <= _LAST else []
        if not beyond:
            return None
        limits = f"it has {self}, and onnxruntime {runtime} reads up to {' and '.join(beyond)}"
        loads = self.loads_in()
        either = "; export it" if " in no " in loads else ", or export it"
        return f"{limits}: it {loads}{either} with a lower opset_version"

    def _beyond(self, newest: tuple[int, int, int]) -> list[str]:
        """The limits that the file exceeds, in words."""
        ir, opset, ml = newest
        given = ((self.ir, ir, "IR"), (self.opsets.get(ONNX, 0), opset, "opset"), (self.opsets.get(ML, 0), ml, ML))
        return [f"{name} {most}" for version, most, name in given if version > most]


def graph_versions(graph: Path | bytes) -> GraphVersions:
    """Read the versions of an ONNX file, or of its bytes. The weights are not read.

    Raises:
        ValueError: it is no ONNX graph.
        OSError: the file cannot be read.
    """
    if isinstance(graph, bytes):
        return _versions(graph)
    with graph.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _versions(content)


def _versions(content: mmap.mmap | bytes) -> GraphVersions:
    ir, opsets = 0, {}
    for field in fields(content, 0, len(content)):
        if field.number == _IR and field.value is not None:
            ir = field.value
        elif field.number == _OPSET and field.value is None:
            domain, version = "", 0
            for inner in fields(content, field.begin, field.end):
                if inner.number == _DOMAIN and inner.value is None:
                    domain = content[inner.begin : inner.end].decode()
                elif inner.number == _VERSION and inner.value is not None:
                    version = inner.value
            opsets["" if domain == "ai.onnx" else domain] = version
    return GraphVersions(ir, opsets)


def _shown(release: tuple[int, int]) -> str:
    return ".".join(map(str, release))
