"""Whatever stands in model.sig, it is accepted or refused with one sentence, and costs little."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.artifact import Artifact
from lading.errors import UntrustedError
from lading.signing.bundle import read_bundle
from lading.signing.sign import LARGEST
from lading.signing.statement import read_statement
from tests.given.signed import Signer, change_statement
from tests.given.small_artifacts import table_artifact

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside a document."""
    yield path
    if isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(part, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = json.loads(json.dumps(document))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Signer]:
    folder = tmp_path_factory.mktemp("signed")
    signer = Signer(folder)
    return signer.sign(table_artifact(folder / "table").path), signer


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_bundle_with_any_value_anywhere_is_refused_in_one_sentence(
    signed: tuple[Path, Signer], data: st.DataObject
) -> None:
    folder, signer = signed
    file = folder / "model.sig"
    original = file.read_text()
    bundle = json.loads(original)
    path = data.draw(st.sampled_from(list(places(bundle))))
    changed = replaced(bundle, path, data.draw(ANY))
    sentence = ""
    try:
        file.write_text(json.dumps(changed))
        Artifact.load(folder, [signer.trusted])
    except UntrustedError as error:
        sentence = str(error)
    finally:
        file.write_text(original)
    assert "\n" not in sentence
    assert len(sentence) < 1000
    # Two fields are not signed.
    assert sentence or path[-1:] in (("keyid",), ("tlogEntries",)) or changed == bundle


@given(content=st.binary(max_size=200))
def test_bytes_that_are_no_bundle_are_a_clause(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        read_bundle(content)


@given(value=ANY)
def test_a_payload_that_is_no_statement_is_a_clause(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^it "):
        read_statement(json.dumps(value).encode())


def test_a_bundle_of_deep_brackets_or_too_many_bytes_is_refused(signed: tuple[Path, Signer]) -> None:
    folder, signer = signed
    file = folder / "model.sig"
    original = file.read_bytes()
    try:
        for content in (b"[" * 1_000_000, b" " * (LARGEST + 1)):
            file.write_bytes(content)
            with pytest.raises(UntrustedError, match=r"model\.sig"):
                Artifact.load(folder, [signer.trusted])
    finally:
        file.write_bytes(original)


STATEMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "no subject": ({"subject": []}, "it has 0 subjects"),
    "another type": ({"_type": "https://in-toto.io/Statement/v0.1"}, "a statement of"),
    "an older predicate": ({"predicateType": "https://model_signing/Digests/v0.1"}, "Digests/v0.1"),
    "no predicate": ({"predicate": {}}, "not a statement"),
    "another root": ({"subject": [{"name": "table", "digest": {"sha256": "0" * 64}}]}, "the digest of its subject"),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_that_a_trusted_key_signed_must_be_of_the_standard(tmp_path: Path, name: str) -> None:
    signer, (change, sentence) = Signer(tmp_path), STATEMENTS[name]
    folder = signer.sign(table_artifact(tmp_path / "table").path)
    change_statement(folder, signer, lambda statement: statement.update(change))
    with pytest.raises(UntrustedError, match=sentence):
        Artifact.load(folder, [signer.trusted])
