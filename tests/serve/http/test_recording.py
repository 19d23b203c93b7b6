"""A running server records what it answered: the payload log, feedback, drift, and the report on it."""

from __future__ import annotations

from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from lading.artifact import Artifact, write_artifact
from lading.errors import SettingsError
from lading.protocol.proto.inference_pb2_grpc import GRPCInferenceServiceStub
from lading.record.payload_log import sampled
from lading.serve.http.app import App
from lading.settings import Settings
from tests.given.grpc_message import typed
from tests.given.live_server import LiveServer, live_server, wait_until
from tests.given.payload_rows import rows_in
from tests.given.pictures import Encode
from tests.given.recorded import send, with_reference

FEATURES = {"features": [[1, 2, 3, 4]]}


def metric(live: LiveServer, line: str) -> float:
    """The value of the series whose exposition begins with ``line``; 0 when there is none."""
    found = [text for text in live.client.get("/metrics").text.splitlines() if text.startswith(line)]
    return sum(float(text.rsplit(" ", 1)[1]) for text in found)


def test_what_was_answered_can_be_read_back(small: dict[str, Artifact], tmp_path: Path) -> None:
    with live_server(small["table"], payload_log=str(tmp_path)) as live:
        first = live.client.post("/predict", json=FEATURES, headers={"x-request-id": "first"})
        live.client.post("/predict", json={"features": [[1, 2, 3, "x"]]}, headers={"x-request-id": "second"})
    rows = rows_in(tmp_path, "small-table")
    assert [row["request_id"] for row in rows] == ["first", "second"]
    assert rows[0]["input.features"] == [1, 2, 3, 4]
    assert rows[0]["input.features.shape"] == [1, 4]
    assert rows[0]["output.total"] == first.json()["outputs"]["total"][0]
    assert (rows[0]["code"], rows[0]["protocol"], rows[0]["error"]) == (200, "http", None)
    assert rows[1]["code"] == 400
    assert "is a string" in rows[1]["error"]
    assert rows[1]["input.features"] is None


def test_a_picture_is_logged_as_numbers_or_as_a_file(
    small: dict[str, Artifact], tmp_path: Path, encode: Encode
) -> None:
    for images in ("features", "files"):
        folder = tmp_path / images
        with live_server(small["colour"], payload_log=str(folder), payload_images=images) as live:
            live.client.post("/classify", content=encode())
        (row,) = rows_in(folder, "small-colour")
        assert row["input.image.shape"] == [1, 16, 16, 3]
        assert 60 < row["input.image.brightness"][0] < 110
        assert "input.image" not in row
        kept = list(folder.rglob("*.jpg"))
        assert [file.name for file in kept] == row.get("input.image.files", [])
        assert len(kept) == (images == "files")


def test_a_sensitive_tensor_is_logged_by_its_shape_alone(small: dict[str, Artifact], tmp_path: Path) -> None:
    manifest = small["table"].manifest
    hidden = manifest.model_copy(
        update={"inputs": tuple(spec.model_copy(update={"sensitive": True}) for spec in manifest.inputs)}
    )
    files: dict[str, bytes | Path] = {name: small["table"].path / name for name in manifest.files}
    artifact = write_artifact(tmp_path / "artifact", hidden, files)
    with live_server(artifact, payload_log=str(tmp_path / "log")) as live:
        live.client.post("/predict", json=FEATURES)
    (row,) = rows_in(tmp_path / "log", "small-table")
    assert row["input.features.shape"] == [1, 4]
    assert "input.features" not in row


def test_every_replica_samples_the_same_requests() -> None:
    ids = [f"request-{index}" for index in range(4000)]
    third = {name for name in ids if sampled(name, 0.3)}
    assert third <= {name for name in ids if sampled(name, 0.5)}
    assert 0.25 < len(third) / len(ids) < 0.35
    assert not any(sampled(name, 0.0) for name in ids)
    assert all(sampled(name, 1.0) for name in ids)


def test_a_log_that_cannot_be_written_drops_and_counts_and_stops_nothing(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    folder = tmp_path / "log"
    with live_server(
        small["table"], payload_log=str(folder), payload_buffer_mb=0.003, payload_rotate_mb=0.001, drift=False
    ) as live:
        (folder / "small-table").write_text("in the way of a folder")
        for _ in range(40):
            assert live.client.post("/predict", json=FEATURES).status_code == 200
        wait_until(lambda: metric(live, "lading_payload_dropped_total") > 0)
        assert metric(live, "lading_payload_written_total") == 0


def test_rows_that_could_not_be_written_are_written_later(small: dict[str, Artifact], tmp_path: Path) -> None:
    folder = tmp_path / "log"
    with live_server(small["table"], payload_log=str(folder), payload_rotate_s=0.01) as live:
        (folder / "small-table").write_text("in the way of a folder")
        live.client.post("/predict", json=FEATURES, headers={"x-request-id": "early"})
        (folder / "small-table").unlink()
        wait_until(lambda: metric(live, "lading_payload_written_total") == 1)
        assert [row["request_id"] for row in rows_in(folder, "small-table")] == ["early"]


def test_old_files_make_room(small: dict[str, Artifact], tmp_path: Path) -> None:
    with live_server(small["table"], payload_log=str(tmp_path), payload_rotate_mb=0.0001, payload_disk_mb=0.02) as live:
        for _ in range(30):
            live.client.post("/predict", json=FEATURES)
        wait_until(lambda: metric(live, "lading_payload_written_total") == 30)
    kept = [file.stat().st_size for file in tmp_path.rglob("*.parquet")]
    assert 0 < sum(kept) <= 20_000
    assert len(kept) < 30


def test_a_folder_that_cannot_be_written_stops_the_start_with_a_sentence(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"LADING_PAYLOAD_LOG=.* cannot be written"):
        App(Settings(payload_log=str(tmp_path / "file" / "log")), artifacts=[small["table"]])


def test_feedback_is_joined_by_the_requests_id(small: dict[str, Artifact], encode: Encode, tmp_path: Path) -> None:
    with live_server(small["colour"], feedback=10, payload_log=str(tmp_path)) as live:
        identity = live.client.post("/classify", content=encode()).headers["x-request-id"]
        told = live.client.post("/feedback", json={"request_id": identity, "truth": {"colour": "red", "shade": "dark"}})
        assert told.status_code == 200
        assert told.json()["colour"] == {"predicted": "red", "truth": "red", "right": True}
        assert told.json()["shade"]["right"] is False
        labels = '{model="small-colour",output="colour",variant="fp32"}'
        assert metric(live, f"lading_live_accuracy{labels}") == 1
        assert metric(live, "lading_feedback_total") == 2
        assert metric(live, "lading_feedback_delay_seconds_count") == 1
    assert [row["output"] for row in rows_in(tmp_path, "feedback")] == ["colour", "shade"]


def test_the_truth_about_a_number_is_an_error_in_its_unit(small: dict[str, Artifact]) -> None:
    with live_server(small["table"], feedback=10) as live:
        identity = live.client.post("/predict", json=FEATURES).headers["x-request-id"]
        told = live.client.post("/feedback", json={"request_id": identity, "truth": {"total": 12.5}})
        assert told.json()["total"]["error"] == pytest.approx(2.5)
        assert metric(live, "lading_feedback_absolute_error_sum") == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({"request_id": "x", "truth": {"colour": "red"}}, 404, "no answer to the request 'x' is remembered here"),
        ({"request_id": "known", "truth": {"size": "red"}}, 400, "'size' is no output"),
        ({"request_id": "known", "truth": {"colour": "pink"}}, 400, "'pink' is no label of 'colour'"),
        ({"request_id": "known"}, 400, "feedback is"),
        (["known"], 400, "send a JSON object"),
    ],
)
def test_feedback_that_says_nothing_is_refused(
    small: dict[str, Artifact], encode: Encode, body: object, status: int, sentence: str
) -> None:
    with live_server(small["colour"], feedback=10) as live:
        live.client.post("/classify", content=encode(), headers={"x-request-id": "known"})
        told = live.client.post("/feedback", json=body)
        assert told.status_code == status
        assert sentence in told.json()["error"]


def test_a_truth_about_an_answer_that_no_one_can_know_is_refused(small: dict[str, Artifact], tmp_path: Path) -> None:
    with live_server(small["table"], feedback=10, payload_log=str(tmp_path), payload_share=0.5) as live:
        told = {
            name: live.client.post("/feedback", json={"request_id": name, "truth": {"total": 1}}).status_code
            for name in (f"id-{number}" for number in range(40))
        }
        assert told == {name: 202 if sampled(name, 0.5) else 404 for name in told}
        assert metric(live, 'lading_feedback_total{model="unknown",output="unknown",result="logged"') > 5
    logged = {row["request_id"] for row in rows_in(tmp_path, "feedback")}
    assert logged == {name for name, status in told.items() if status == 202}


def test_feedback_is_off_unless_asked_for(table: LiveServer) -> None:
    assert table.client.post("/feedback", json={}).status_code == 404


def test_a_shift_of_the_traffic_raises_scores_above_their_thresholds(
    small: dict[str, Artifact], tmp_path: Path
) -> None:
    artifact = with_reference(small["table"], tmp_path / "artifact")
    rng = np.random.default_rng(1)
    with live_server(artifact, drift_window=50, drift_per_second=1e6) as live:
        send(live, rng.normal(1.5, 1, (60, 4)))
        labels = '{feature="features.0",model="small-table",test="psi"}'
        wait_until(lambda: metric(live, f"lading_drift_score{labels}") > 0)
        assert metric(live, f"lading_drift_score{labels}") > metric(live, f"lading_drift_threshold{labels}")
        assert metric(live, "lading_drift_window_requests") >= 50
        report = live.client.get("/report", params={"n": 20})
    assert report.status_code == 200
    assert "features.0" in report.text
    assert "have drifted" in report.text


def test_the_report_says_when_nothing_has_drifted(small: dict[str, Artifact], tmp_path: Path) -> None:
    artifact = with_reference(small["table"], tmp_path / "artifact")
    with live_server(artifact, drift_window=50, drift_per_second=1e6) as live:
        assert "No request has come yet" in live.client.get("/report").text
        send(live, np.random.default_rng(2).normal(0, 1, (60, 4)))
        wait_until(lambda: metric(live, "lading_drift_window_requests") >= 50)
        assert "Nothing has drifted." in live.client.get("/report").text
        for n in (
            "9" * 6000,
            "0",
            "00",
            "-1",
            "+1",
            "1.0",
            "1e3",
            " 1",
            "x",
            "\N{SUPERSCRIPT TWO}",
            "100001",
            "",
            "0x10",
        ):
            refused = live.client.get("/report", params={"n": n})
            assert refused.status_code == 400, n
            assert len(refused.json()["error"]) <= 500


def test_an_artifact_without_thresholds_is_not_watched(table: LiveServer) -> None:
    answer = table.client.get("/report")
    assert answer.status_code == 404
    assert "no reference with thresholds" in answer.json()["error"]


def test_grpc_answers_are_recorded_too(small: dict[str, Artifact], tmp_path: Path) -> None:
    with live_server(small["table"], payload_log=str(tmp_path)) as live, grpc.insecure_channel(live.grpc) as channel:
        stub = GRPCInferenceServiceStub(channel)  # type: ignore[no-untyped-call]
        stub.ModelInfer(typed([1, 2, 3, 4], id="over-grpc"))
    (row,) = rows_in(tmp_path, "small-table")
    assert (row["request_id"], row["protocol"], row["code"]) == ("over-grpc", "grpc", 200)
    assert row["input.features"] == [1, 2, 3, 4]


def test_the_protocol_over_rest_is_recorded_too(small: dict[str, Artifact], tmp_path: Path) -> None:
    request = {"inputs": [{"name": "features", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    with live_server(small["table"], payload_log=str(tmp_path)) as live:
        answer: httpx.Response = live.client.post("/v2/models/small-table/infer", json=request)
        assert answer.status_code == 200
    (row,) = rows_in(tmp_path, "small-table")
    assert row["protocol"] == "v2"
