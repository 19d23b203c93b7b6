"""Keys: who may send requests, and that a change of the file counts or is loud."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import grpc
import httpx
import pytest

from lading.artifact import Artifact
from lading.errors import SettingsError, UnauthorizedError
from lading.protocol.proto import inference_pb2 as pb
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.serve.keys import Keys
from tests.given.live_server import live_server, wait_until

BODY = {"features": [[1, 2, 3, 4]]}


def test_every_port_asks_for_a_key_and_probes_do_not(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("# the team's\nalpha\n\nbeta\n")
    with live_server(small["table"], api_keys=file) as live:
        for path in ("/livez", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", "/"):
            assert live.client.get(path).status_code == 200
        for method, path in (
            ("POST", "/predict"),
            ("GET", "/model"),
            ("GET", "/v2/models/small-table"),
            ("GET", "/docs.json"),
        ):
            refused = live.client.request(method, path)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        for key in ("alpha", "beta"):
            headers = {"authorization": f"Bearer {key}"}
            assert live.client.post("/predict", json=BODY, headers=headers).status_code == 200
        wrong = live.client.post("/predict", json=BODY, headers={"authorization": "Bearer gamma"})
        assert (wrong.status_code, "gamma" in wrong.text) == (401, False)
        with grpc.insecure_channel(live.grpc) as channel:
            stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
            assert stub.ServerReady(pb.ServerReadyRequest()).ready
            with pytest.raises(grpc.RpcError) as refused_call:
                stub.ServerMetadata(pb.ServerMetadataRequest())
            assert refused_call.value.code() == grpc.StatusCode.UNAUTHENTICATED
            allowed = (("authorization", "Bearer alpha"),)
            assert stub.ServerMetadata(pb.ServerMetadataRequest(), metadata=allowed).name == "lading"


def test_keys_are_rotated_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old\n")
    keys = Keys(file)
    keys.check("Bearer old")
    file.unlink()
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        keys.read()
    keys.check("Bearer old")  # a rotation may take a moment
    file.write_text("new\n")
    assert keys.read() == ""
    keys.check(b"bearer new")
    assert_refused(keys, "old")


def test_a_key_is_revoked_while_the_server_runs(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("alpha\nbeta\n")
    with live_server(small["table"], api_keys=file) as live:

        def asked_with(key: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            return live.client.post("/predict", json=BODY, headers=headers).status_code

        assert (asked_with("alpha"), asked_with("beta")) == (200, 200)
        file.write_text("beta\nbroken until=then\n")
        wait_until(lambda: asked_with("alpha") == 401)
        assert asked_with("beta") == 200
        wait_until(lambda: 'lading_credentials_unreadable{kind="keys"} 1.0' in live.client.get("/metrics").text)
        file.write_text("# all revoked\n")
        wait_until(lambda: asked_with("beta") == 401)
        file.write_text("gamma\n")
        wait_until(lambda: asked_with("gamma") == 200)
        wait_until(lambda: 'lading_credentials_unreadable{kind="keys"} 0.0' in live.client.get("/metrics").text)


def assert_refused(keys: Keys, secret: str) -> None:
    with pytest.raises(UnauthorizedError, match="not one of this server's"):
        keys.check(f"Bearer {secret}")


@pytest.mark.parametrize("content", ["", "\n\n", "# none\n", "  # none", "\ufeff", "\ufeff# none\r\n"])
def test_a_file_without_a_key_refuses_everyone_and_says_so(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text("old\n")
    keys = Keys(file)
    file.write_text(content)
    assert keys.read().endswith("has no key: every request is refused")
    assert_refused(keys, "old")


BROKEN_LINES = [
    b"bad expires=2027-13-01",
    b"bad expires=",
    b"bad expires=2027-01-31 expires=2027-01-31",
    b"bad may=",
    b"bad may=everything",
    b"bad may=infer,",
    b"bad until=2027-01-31",
    b"bad 2027-01-31",
    b"bad # a comment",
    b"bad\x00",
    b"\x00\x00\x00",
    b"\x1bbad",
    b"bad \xff\xfe",
]


@pytest.mark.parametrize("line", BROKEN_LINES)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_a_line_that_is_no_key_hides_no_other(tmp_path: Path, line: bytes, end: bytes) -> None:
    file = tmp_path / "keys"
    file.write_bytes(end.join([b"kept", b"revoked", b""]))
    keys = Keys(file)
    file.write_bytes(end.join([b"kept", line, b"new expires=2099-12-31", b""]))
    said = keys.read()
    assert "line 2: " in said
    assert "bad" not in said
    keys.check("Bearer kept")
    keys.check("Bearer new")
    assert_refused(keys, "revoked")
    assert_refused(keys, "bad")


@pytest.mark.parametrize("line", BROKEN_LINES)
def test_a_file_of_broken_lines_alone_keeps_the_keys_read_before(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"old\n")
    keys = Keys(file)
    file.write_bytes(line + b"\n" + line)
    with pytest.raises(SettingsError, match=r"line 1: .* line 2: "):
        keys.read()
    keys.check("Bearer old")


def test_the_sentence_about_a_file_of_broken_lines_is_short(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_bytes(b"good\n" + b"bad until=then\n" * 10_000)
    said = Keys(file).read()
    assert said.endswith("and 9997 more lines")
    assert len(said) <= 500


def test_a_file_that_cannot_be_read_keeps_the_keys_and_never_waits(tmp_path: Path) -> None:
    file = tmp_path / "keys"

    def put(name: str) -> None:
        """Put something in the place of the file."""
        file.unlink(missing_ok=True)
        if name == "a pipe without a writer":
            os.mkfifo(file)
        elif name == "a folder":
            file.mkdir()
        elif name == "a device":
            file.symlink_to("/dev/zero")
        elif name == "a file in UTF-16":
            file.write_text("alpha\nbeta\n", encoding="utf-16")
        elif name == "a link to itself":
            file.symlink_to(file)
        else:
            file.write_bytes(b"k\n" * 500_001)

    file.write_text("old\n")
    keys = Keys(file)
    sentences = {
        "a pipe without a writer": "it is not a regular file",
        "a device": "it is not a regular file",
        "a file in UTF-16": "write the keys as UTF-8 text",
        "a link to itself": "Too many levels of symbolic links",
        "a file of megabytes": "it has more than 1000000 bytes",
        "a folder": "it is not a regular file",
    }
    for name, sentence in sentences.items():
        put(name)
        with pytest.raises(SettingsError, match=sentence):
            keys.read()
        keys.check("Bearer old")
        with pytest.raises(SettingsError, match=sentence):
            Keys(file)


def test_a_mounted_secret_is_followed_when_kubernetes_swaps_its_folder(tmp_path: Path) -> None:
    for name, key in (("one", "old"), ("two", "new")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "keys").write_text(f"{key}\n")
    data, file = tmp_path / "..data", tmp_path / "keys"
    data.symlink_to("one")
    file.symlink_to("..data/keys")
    keys = Keys(file)
    (tmp_path / "next").symlink_to("two")
    (tmp_path / "next").replace(data)
    assert keys.read() == ""
    keys.check("Bearer new")
    assert_refused(keys, "old")


@pytest.mark.parametrize("content", ["old expires=2099-12-31", "\ufeffold\r\n", "  old\t\n", "old may=infer"])
def test_a_change_that_does_not_touch_the_secret_keeps_the_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "keys"
    file.write_text("old\n")
    keys = Keys(file)
    file.write_text(content)
    assert keys.read() == ""
    keys.check("Bearer old")


def test_a_key_may_be_limited_to_inference_or_to_feedback(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("asks may=infer\ntells expires=2099-12-31 may=feedback\nboth may=infer,feedback\nall\n")
    allowed = {"asks": "i", "tells": "f", "both": "if", "all": "ifo"}
    calls = {
        "i": (("POST", "/predict"), ("POST", "/v2/models/small-table/infer"), ("GET", "/model"), ("GET", "/v2")),
        "f": (("POST", "/feedback"),),
        "o": (("GET", "/report"), ("POST", "/v2/repository/models/small-table/unload")),
    }
    with live_server(small["table"], api_keys=file, feedback=10) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        for key, may in allowed.items():
            headers = {"authorization": f"Bearer {key}"}
            for purpose, paths in calls.items():
                for method, path in paths:
                    answer = live.client.request(method, path, json=BODY, headers=headers)
                    refused = (
                        answer.status_code == 403 and "the key that was sent is limited to" in answer.json()["error"]
                    )
                    assert refused == (purpose not in may), (key, method, path, answer.text)
            for call, request, purpose in (
                (stub.ModelInfer, pb.ModelInferRequest(model_name="small-table"), "i"),
                (stub.ServerMetadata, pb.ServerMetadataRequest(), "i"),
                (stub.RepositoryModelLoad, pb.RepositoryModelLoadRequest(model_name="small-table"), "o"),
            ):
                said = ""
                try:
                    call(request, metadata=(("authorization", f"Bearer {key}"),))
                except grpc.RpcError as error:
                    said = error.details()
                assert ("limited to" in said) == (purpose not in may), (key, said)


@pytest.mark.parametrize("sent", [None, "", "Bearer", "Bearer ", "Basic alpha", "alpha"])
def test_what_is_no_bearer_key_is_refused(tmp_path: Path, sent: str | None) -> None:
    (tmp_path / "keys").write_text("alpha\n")
    with pytest.raises(UnauthorizedError, match="authorization: Bearer KEY"):
        Keys(tmp_path / "keys").check(sent)


def test_a_key_may_have_a_last_day_and_the_metric_says_when(small: dict[str, Artifact], tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old expires=2020-02-29\nnew\texpires=2099-12-31\nforever\n")
    with live_server(small["table"], api_keys=file) as live:

        def asked_with(key: str) -> httpx.Response:
            return live.client.post("/predict", json=BODY, headers={"authorization": f"Bearer {key}"})

        assert asked_with("new").status_code == asked_with("forever").status_code == 200
        assert asked_with("old").status_code == 401
        assert "has expired" in asked_with("old").json()["error"]
        shown = [line for line in live.client.get("/metrics").text.splitlines() if line.startswith("lading_api_key_")]
        assert sorted(float(line.split()[1]) for line in shown) == [1583020800, 4102444800]
        assert not any("old" in line or "new" in line for line in shown)


def test_comparing_takes_as_long_for_a_near_miss(tmp_path: Path) -> None:
    """Digests are looked up, so how much of a key is right cannot show."""
    (tmp_path / "keys").write_text("k" * 64 + "\n")
    keys = Keys(tmp_path / "keys")
    assert list(keys._keys) == [hashlib.sha256(b"k" * 64).digest()]
