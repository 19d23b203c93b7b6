"""``/docs.json`` is made from the artifact, and it is true: schemathesis tries to find where it is not."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serve.conftest import Encode
from tests.serve.live_server import LiveServer

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
    """OpenAPI can say that a body is a picture, and not how to make one."""
    encoded = st.sampled_from([encode("JPEG"), encode("PNG"), encode("WEBP")])
    for kind in ("image/jpeg", "image/png", "image/webp"):
        schemathesis.openapi.media_type(kind, encoded)
    schemathesis.openapi.format("binary", encoded)
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
