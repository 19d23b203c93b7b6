"""A file of API keys is read in one way, whether a server checks against it or a client sends a key of it."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lading.deploy.golden_check import check_server
from lading.errors import SettingsError
from lading.key_file import bearer, read_keys
from lading.protocol.client import Access
from lading.serve.keys import Keys
from tests.given.small_artifacts import table_artifact


def check(file: Path) -> None:
    list(check_server(table_artifact(file.parent / "table"), "http://127.0.0.1:1", None, access=Access(key=file)))


READERS: list[Callable[[Path], object]] = [read_keys, Keys, bearer, check]


def test_comments_and_empty_lines_hold_no_key(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# the team's\n\nold expires=2020-02-29\n  # another\nnew\texpires=2099-12-31\nforever\n")
    old, new, forever = read_keys(file)
    assert (old.secret, new.secret, forever.secret) == (b"old", b"new", b"forever")
    assert old.expires == datetime(2020, 3, 1, tzinfo=UTC).timestamp(), "the last day counts"
    assert forever.expires == math.inf


def test_a_client_sends_the_first_key_that_has_not_expired(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# ours\nold expires=2020-02-29\nnew expires=2099-12-31\nother\n")
    assert bearer(file) == {"authorization": "Bearer new"}
    file.write_text("old expires=2020-02-29\n")
    with pytest.raises(SettingsError, match=r"every key in the key file .* has expired"):
        bearer(file)
    file.write_text("tells may=feedback\nasks may=infer\n")
    assert bearer(file) == {"authorization": "Bearer asks"}
    file.write_text("tells may=feedback\n")
    with pytest.raises(SettingsError, match="may be used for inference"):
        bearer(file)


def test_a_line_that_cannot_be_understood_hides_no_other(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"\xef\xbb\xbfbad until=then\r\nnew may=feedback,infer expires=2099-12-31\r\n")
    (new,) = read_keys(file)
    assert (new.secret, new.may) == (b"new", frozenset({"infer", "feedback"}))
    assert bearer(file) == {"authorization": "Bearer new"}


def test_a_client_may_read_its_keys_from_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writing = threading.Thread(target=lambda: pipe.write_bytes(b"piped\n"))
    writing.start()
    assert bearer(pipe) == {"authorization": "Bearer piped"}
    writing.join()


@pytest.mark.parametrize("read", READERS)
def test_a_file_without_keys_is_refused(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(SettingsError, match="nothing cannot be read"):
        read(tmp_path / "nothing")
    (tmp_path / "empty").write_text("# none yet\n")
    with pytest.raises(SettingsError, match="has no key: write one per line"):
        read(tmp_path / "empty")


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("end", ["expires=tomorrow", "2027-01-31", "expires=9999-12-31", "until=2027-01-31"])
def test_an_end_that_is_no_date_is_refused_without_showing_the_key(
    tmp_path: Path, end: str, read: Callable[[Path], object]
) -> None:
    (tmp_path / "keys").write_text(f"# ours\nsecret {end}\n")
    with pytest.raises(
        SettingsError, match=r"line 2: only expires=YYYY-MM-DD and may=infer or may=feedback may follow a key"
    ) as refused:
        read(tmp_path / "keys")
    assert "secret" not in str(refused.value)


def test_a_key_is_not_shown(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret\n")
    assert "secret" not in repr(read_keys(tmp_path / "keys"))
