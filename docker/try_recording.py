"""Do in an image what its server does besides answering: check a signature, keep and read the payload log, and more.

An import alone does not show that ``slim.py`` left everything: libraries import parts of themselves when a function
needs them. ``python try_recording.py SET`` runs while the image is built, and an exception ends the build. SET is the
lock file in the image: ``bento``, ``serve`` or ``drift``.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import ExifTags, Image

from lading.artifact.manifest import ModelInfo
from lading.budget import Budget
from lading.content.audio import Audio
from lading.content.image import decode_image
from lading.content.text.tokenizer import Tokenizer
from lading.drift.reference import Reference
from lading.record.batch import Batch
from lading.record.exchange import Exchange
from lading.record.log_source import files_of_feedback, files_of_model, log_source
from lading.record.payload_columns import row_of
from lading.record.payload_reader import read_rows, row_examples
from lading.record.payload_store import sink
from lading.settings import Settings
from lading.settings.recording import RecordingSettings
from lading.signing.keys import new_keys, read_private_key
from lading.signing.sign import check_folder, sign_folder
from lading.signing.trusted_keys import TrustedKeys
from lading.spec import Padding, TensorSpec

INPUTS = (
    TensorSpec(name="photo", dtype="uint8", shape=("batch", 8, 8, 3), content="image"),
    TensorSpec(name="numbers", dtype="float32", shape=("batch", 4)),
    TensorSpec(name="secret", dtype="int64", shape=("batch", 2), sensitive=True),
)
OUTPUTS = (
    TensorSpec(name="label", dtype="float32", shape=("batch", 2), labels=("no", "yes")),
    TensorSpec(name="total", dtype="float64", shape=("batch", 1)),
)
AUDIO = Audio()
MODEL = ModelInfo("tried", "1", "fp32", "sha256:0", INPUTS, OUTPUTS, 4)


def answers() -> list[Exchange]:
    """One answer, and one request that could not be read: every column has a value and a null."""
    inputs = {
        "photo": np.zeros((1, 8, 8, 3), np.uint8),
        "numbers": np.ones((1, 4), np.float32),
        "secret": np.ones((1, 2), np.int64),
    }
    outputs = {"label": np.array([[0.25, 0.75]], np.float32), "total": np.ones((1, 1))}
    return [
        Exchange("one", MODEL, "http", 200, "", 0.01, 1.0, inputs, outputs),
        Exchange("two", MODEL, "http", 400, "this is no picture", 0.01, 2.0, None, None),
    ]


def record(address: str) -> None:
    """Store the answers and a truth."""
    kept = sink(RecordingSettings(payload_log=address, payload_images="files"))
    rows, pictures = [], {}
    for exchange in answers():
        row, files = row_of(exchange, "files")
        rows.append(row)
        pictures |= files
    kept.store(Batch.new(), MODEL, rows, pictures)
    kept.store_truths(Batch.new(), [{"time": 1, "request_id": "one", "output": "label", "truth": '"yes"'}])


def read(folder: Path) -> None:
    """Read the answers and the truth from the folder."""
    log = log_source(folder)
    found = {row["request_id"]: row for file in files_of_model(log, MODEL.name) for row in read_rows(log, file)}
    truths = [row["truth"] for file in files_of_feedback(log) for row in read_rows(log, file)]
    assert found["one"]["input.numbers"] == [1, 1, 1, 1], found
    assert found["two"]["input.numbers"] is None, found
    assert "input.secret" not in found["one"], found
    manifest = SimpleNamespace(inputs=INPUTS, outputs=OUTPUTS)
    none = Reference(examples=0)
    assert [len(list(row_examples(manifest, row, none))) for row in found.values()] == [1, 1]  # type: ignore[arg-type]
    assert truths == ['"yes"'], truths
    assert list(folder.glob("**/pictures/*")), "the picture was not kept"
    print("the payload log can be written and read")


def export() -> None:
    """Send rows, a span and a metric to a collector."""
    from lading.serve.telemetry.otlp_metrics import OtlpMetrics
    from lading.serve.telemetry.tracing import Tracing

    paths: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            paths.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        record(f"otlp+http://127.0.0.1:{server.server_port}")
        tracing, metrics = Tracing(Settings()), OtlpMetrics()
        tracing.begin("POST /predict", None, 0.0, {}).end(1.0, status=200, attributes={})
        metrics.answered({"rpc.system.name": "grpc"}, "inference/ModelInfer", 200, 1.0, None)
        tracing.close()
        metrics.close()
        server.shutdown()
    assert set(paths) == {"/v1/logs", "/v1/traces", "/v1/metrics"}, paths
    print("spans, metrics and the payload log reach a collector")


def decode() -> None:
    """Decode each format of pictures, also one that is turned and one that is shrunk."""
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for mode in ("RGB", "L", "RGBA", "P", "CMYK", "I;16"):
        for kind, options in (("JPEG", {"progressive": True, "exif": exif}), ("PNG", {}), ("WEBP", {})):
            stored = io.BytesIO()
            try:
                picture.convert("L").convert(mode).save(stored, kind, **options)
            except (OSError, ValueError):  # the format has no such mode
                continue
            decoded = decode_image(stored.getvalue(), height=16, width=16)
            assert decoded.shape == (16, 16, 3), (kind, mode)
    print("each format of pictures can be decoded")


def decode_texts_and_recordings() -> None:
    """Turn a text into tokens, and a recording of another rate into samples."""
    model = {"type": "WordLevel", "vocab": {"?": 0, "ace": 1, "hearts": 2}, "unk_token": "?"}
    tokenizer = {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"}, "model": model}
    assert Tokenizer(json.dumps(tokenizer).encode(), Padding(max_length=8)).ids("ace of hearts") == [1, 0, 2]
    sound, slower = (
        TensorSpec(name="sound", dtype="float32", shape=("batch", 4000), content="audio", rate=rate)
        for rate in (16_000, 8_000)
    )
    recording = AUDIO.draw(slower, np.random.default_rng(0))
    assert AUDIO.decode(recording, sound, Budget()).shape == (4000,)
    print("texts become tokens, and recordings samples")


def check_signature(folder: Path) -> None:
    """Sign a folder, and check it with the public key."""
    private, manifest = folder / "keys" / "release.pem", folder / "artifact" / "lading.json"
    for file in (private, manifest):
        file.parent.mkdir()
    manifest.write_text("{}")
    public, _ = new_keys(private)
    sign_folder(manifest.parent, read_private_key(private, str))
    check_folder(manifest.parent, TrustedKeys([public]), manifest.name)
    print("signatures can be checked")


def compare() -> None:
    """Make Evidently's report, as ``lading drift serve`` does."""
    os.environ["DO_NOT_TRACK"] = "1"
    import pandas as pd
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=["number", "few"], categorical_columns=["label"])
    frames = [
        Dataset.from_pandas(
            pd.DataFrame(
                {"number": np.arange(count) / 9, "few": np.arange(count) % 3, "label": ["a", "b"] * (count // 2)}
            ),
            data_definition=definition,
        )
        for count in (2000, 100)
    ]
    assert "html" in Report([DataDriftPreset()]).run(*frames).get_html_str(as_iframe=False)
    print("Evidently makes its report")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as kept:
        record(kept)
        read(Path(kept))
    with tempfile.TemporaryDirectory() as kept:
        check_signature(Path(kept))
    decode()
    decode_texts_and_recordings()
    if sys.argv[1] == "drift":
        compare()
    else:
        export()
