"""``/docs.json`` is made from the artifact, and it is true: schemathesis tries to find where it is not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from lading.artifact import Artifact
from tests.given.live_server import LiveServer, live_server
from tests.given.pictures import Encode
from tests.given.recorded import with_reference

BOUNDED = settings(
    max_examples=20,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="session", autouse=True)
def _pictures_where_pictures_are_wanted(encode: Encode) -> None:
    """OpenAPI can say that a body is a picture, and not how to make one; nor which requests were answered."""
    encoded = st.sampled_from([encode("JPEG"), encode("PNG"), encode("WEBP")])
    for kind in ("image/jpeg", "image/png", "image/webp"):
        schemathesis.openapi.media_type(kind, encoded)
    schemathesis.openapi.format("binary", encoded)
    schemathesis.openapi.format("request-id", st.sampled_from(["0", "unknown"]))
    schemathesis.openapi.format("byte", encoded.map(lambda data: base64.b64encode(data).decode()))


def operations(live: LiveServer) -> Iterator[Any]:
    for result in schemathesis.openapi.from_url(f"{live.url}/docs.json").get_all_operations():
        yield result.ok()  # type: ignore[union-attr]


def check(operation: Any, mode: GenerationMode, *, excluded: list[Any] | None = None) -> None:
    @BOUNDED
    @given(operation.as_strategy(generation_mode=mode))
    def conforms(case: Any) -> None:
        case.call_and_validate(excluded_checks=excluded)

    conforms()


@pytest.mark.parametrize("kind", ["table", "types", "graph", "pictures"])
def test_the_examples_of_bodies_are_answered(kind: str, request: pytest.FixtureRequest) -> None:
    live: LiveServer = request.getfixturevalue(kind)
    paths = live.client.get("/docs.json").json()["paths"]
    shown = [path for path in paths if path == "/predict" or path.endswith("/infer")]
    assert len(shown) == 2
    for path in shown:
        example = paths[path]["post"]["requestBody"]["content"]["application/json"]["example"]
        assert live.client.post(path, json=example).status_code == 200


def test_every_operation_has_a_tag(table: LiveServer) -> None:
    paths = table.client.get("/docs.json").json()["paths"]
    assert [path for path, methods in paths.items() for one in methods.values() if not one.get("tags")] == []


@pytest.mark.parametrize("kind", ["table", "types", "graph", "pictures"])
def test_every_hole_of_the_template_is_filled(kind: str, request: pytest.FixtureRequest) -> None:
    live: LiveServer = request.getfixturevalue(kind)
    document = httpx.get(f"{live.url}/docs.json").text
    assert "${" not in document
    assert "$errors" not in document
    assert f"/v2/models/{live.app.repository.find().artifact.manifest.name}/infer" in document


@pytest.mark.parametrize("kind", ["table", "types", "graph", "pictures"])
def test_what_the_document_allows_is_answered_as_it_says(kind: str, request: pytest.FixtureRequest) -> None:
    live: LiveServer = request.getfixturevalue(kind)
    # JSON Schema cannot say that lists are equally long, as those of one dim in two inputs must be.
    excluded = [positive_data_acceptance] if kind in ("types", "graph") else None
    checked = []
    for operation in operations(live):
        # Nor can it say that there are as many values as the shape holds.
        unsaid = [positive_data_acceptance] if operation.path.endswith("/infer") else excluded
        check(operation, GenerationMode.POSITIVE, excluded=unsaid)
        checked.append(operation.path)
    assert {"/predict", "/model", "/livez", "/readyz", "/metrics"} <= set(checked)
    assert ("/classify" in checked) == (kind == "pictures")


@pytest.mark.parametrize("kind", ["table", "types", "graph", "pictures"])
def test_what_the_document_forbids_is_refused_as_it_says(kind: str, request: pytest.FixtureRequest) -> None:
    live: LiveServer = request.getfixturevalue(kind)
    for operation in operations(live):
        if operation.body:
            check(operation, GenerationMode.NEGATIVE)


@pytest.mark.parametrize("kind", ["table", "colour"])
def test_feedback_and_the_report_are_as_the_document_says(
    kind: str, small: dict[str, Artifact], tmp_path: Path, encode: Encode
) -> None:
    artifact = with_reference(small["table"], tmp_path / "artifact") if kind == "table" else small["colour"]
    with live_server(artifact, feedback=10) as live:
        if kind == "table":
            live.client.post("/predict", json={"features": [[1, 2, 3, 4]]}, headers={"x-request-id": "0"})
        else:
            live.client.post("/classify", content=encode(), headers={"x-request-id": "0"})
        by_path = {operation.path: operation for operation in operations(live)}
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            check(by_path["/feedback"], mode)
        check(by_path["/report"], GenerationMode.POSITIVE)
        told = [
            line for line in live.client.get("/metrics").text.splitlines() if line.startswith("lading_feedback_total")
        ]
        assert any(artifact.manifest.name in line for line in told)


def test_what_is_off_is_not_in_the_document(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], drift=False) as live:
        assert not {"/feedback", "/report"} & {operation.path for operation in operations(live)}
