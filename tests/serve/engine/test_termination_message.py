"""A server that will never be ready leaves its reason where Kubernetes shows it."""

from __future__ import annotations

from pathlib import Path

from lading.serve.engine.artifacts import LARGEST, leave_message

POD = {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}


def test_in_a_pod_the_reason_is_left(tmp_path: Path) -> None:
    file = tmp_path / "termination-log"
    leave_message("the golden outputs differ", file, POD)
    assert file.read_text() == "the golden outputs differ\n"
    leave_message("é" * LARGEST, file, POD)
    assert len(file.read_bytes()) == LARGEST


def test_elsewhere_and_where_it_cannot_be_written_nothing_happens(tmp_path: Path) -> None:
    leave_message("no matter", tmp_path / "termination-log", {})
    leave_message("no matter", tmp_path / "nowhere" / "termination-log", POD)
    assert list(tmp_path.iterdir()) == []
