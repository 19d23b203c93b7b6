"""The text example: a third kind of model, in one file, of which nothing in the package knows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.build.examples import answer, spread, targets
from lading.build.export.export import export_module
from lading.import_string import load_spec
from lading.predictor import open_session
from tests.given.live_server import live_server
from tests.given.tiny import fit

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "code_or_prose.py"
LINES = {
    "code": "self.value = [x for x in values if x != None]",
    "prose": "The function returns the number of the items.",
}


@pytest.mark.slow
def test_it_learns_exports_and_answers_a_text_the_same_alone_and_among_others(tmp_path: Path) -> None:
    spec = load_spec(f"{EXAMPLE}:CodeOrProse")
    export_module(spec, fit(spec, steps=60, most=400), tmp_path / "fp32.onnx")
    session = open_session(tmp_path / "fp32.onnx")
    examples = spread(spec.dataset("test"), 200)
    together = answer(session, spec, examples)
    assert spec.score(together, targets(examples)) > 0.55
    alone = [answer(session, spec, [example])["kind"][0] for example in examples[:20]]
    np.testing.assert_allclose(together["kind"][:20], alone, atol=1e-6)


@pytest.mark.slow
def test_it_is_built_served_and_scored_like_any_other(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    lading = [str(Path(sys.executable).with_name("lading"))]

    def run(*words: str) -> str:
        done = subprocess.run(
            [*lading, *words], cwd=tmp_path, env=os.environ | {"WANDB_MODE": "offline"}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("build", "code_or_prose.py:CodeOrProse", "data.workers=0", "trainer.threads=1", "trainer.max_epochs=6")
    artifact = Artifact.load(tmp_path / "artifacts" / "code-or-prose")
    measured = artifact.variant("fp32").measurement
    assert measured is not None
    assert measured.scores["test"] > 0.75
    with live_server(artifact) as live:
        for kind, line in LINES.items():
            text = list(line.encode())
            plain = live.client.post("/predict", json={"text": text}).json()["outputs"]["kind"][0]
            tensor = {"name": "text", "datatype": "UINT8", "shape": [len(text)], "data": text}
            open_protocol = live.client.post("/v2/models/code-or-prose/infer", json={"inputs": [tensor]}).json()
            assert open_protocol["outputs"][0]["shape"] == [1, 2]
            assert open_protocol["outputs"][0]["data"] == pytest.approx(plain)
            assert artifact.manifest.outputs[0].labels is not None
            assert artifact.manifest.outputs[0].labels[int(np.argmax(plain))] == kind
        several = [list(line.encode()) for line in LINES.values()]
        body = {"text": [*several[0], *several[1]], "owner": [0] * len(several[0]) + [1] * len(several[1])}
        both = live.client.post("/predict", json=body).json()["outputs"]["kind"]
        assert [int(np.argmax(row)) for row in both] == [0, 1]
    rows = [json.dumps({"text": list(line.encode())}) for line in LINES.values()]
    (tmp_path / "lines.jsonl").write_text("\n".join(rows))
    run("score", "artifacts/code-or-prose", "lines.jsonl", "kinds.jsonl")
    scored = [json.loads(line)["kind_label"] for line in (tmp_path / "kinds.jsonl").read_text().splitlines()]
    assert scored == list(LINES)
