"""``docs/text.md`` is true: a BERT goes in with its tokenizer, and the example is built and served."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lading.artifact import Artifact
from lading.build.examples import answer
from lading.build.export.export import export_module
from lading.import_string import load_spec
from lading.predictor import open_session
from tests.given.hubs import hubs
from tests.given.live_server import live_server
from tests.given.small_text import write_tokenizer
from tests.given.tiny import fit

__all__ = ["hubs"]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "text_encoder.py"
PAGE = (ROOT / "docs" / "text.md").read_text()
LINES = {
    "code": "self.value = [x for x in values if x != None]",
    "prose": "The function returns the number of the items.",
}
SAVE = """
import torch
from lading.import_string import load_spec

torch.manual_seed(0)
load_spec("reviews.py:Reviews").build().network.save_pretrained("bert")
"""
SAME = """
import numpy as np
import torch
from lading.build.examples import answer
from lading.import_string import load_spec
from lading.predictor import open_session
from transformers import AutoModelForSequenceClassification

spec = load_spec("reviews.py:Reviews")
network = AutoModelForSequenceClassification.from_pretrained("bert").eval()
examples = spec.dataset("test")[:8]
together = answer(open_session("exported/fp32.onnx"), spec, examples)["stars"]
for (given, _), got in zip(examples, together):
    with torch.no_grad():
        wanted = network(torch.from_numpy(given["text"])[None]).logits.softmax(1)[0]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
"""


@pytest.mark.slow
def test_the_pages_bert_goes_in_with_its_weights_and_answers_padded_texts_as_transformers_does(
    tmp_path: Path, hubs: Path
) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "reviews.py").write_text(block)
    write_tokenizer(tmp_path / "tokenizer.json")
    places = f"{ROOT / 'src'}{os.pathsep}{hubs}"
    environment = os.environ | {"PYTHONPATH": places, "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}

    def run(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *words], cwd=tmp_path, env=environment, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr[-2000:]
        return done.stdout

    run("-c", SAVE)
    commands = [line for line in PAGE.splitlines() if line.startswith("lading ") and "reviews.py" in line]
    assert len(commands) == 2
    for line in commands:
        run("-m", *line.split())
    run("-c", SAME)


@pytest.mark.slow
def test_the_example_answers_a_text_the_same_alone_and_among_longer_ones(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    spec = load_spec(f"{tmp_path / EXAMPLE.name}:TextEncoder")
    export_module(spec, fit(spec, steps=5, most=200), tmp_path / "fp32.onnx")
    session = open_session(tmp_path / "fp32.onnx")
    tests = spec.dataset("test")
    examples = [tests[number] for number in range(40)]
    assert len({given["text"].shape for given, _ in examples}) > 5
    together = answer(session, spec, examples)["kind"]
    alone = [answer(session, spec, [example])["kind"][0] for example in examples]
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.slow
def test_the_example_is_built_with_int8_and_served(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    (line,) = (line for line in PAGE.splitlines() if line.startswith("lading build examples/"))
    words = line.replace("examples/", "").replace("max_epochs=6", "max_epochs=2").split()
    done = subprocess.run(
        [sys.executable, "-m", *words, "--effort", "quick"],
        cwd=tmp_path,
        env=os.environ | {"WANDB_MODE": "offline"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    artifact = Artifact.load(tmp_path / "artifacts" / "text-encoder")
    measured = artifact.variant("fp32").measurement
    assert measured is not None
    assert measured.scores["test"] > 0.75
    assert [one.length for one in measured.lengths] == [8, 32, 64]
    assert measured.lengths[-1].batch_ms > measured.lengths[0].batch_ms
    tried = {one.variant.name for one in artifact.manifest.variants}
    tried |= {one.variant.name for one in artifact.manifest.refused}
    assert tried == {"fp32", "int8-dynamic"}
    with live_server(artifact) as live:
        for kind, text in LINES.items():
            said = live.client.post("/classify", content=text, headers={"content-type": "text/plain"}).json()
            assert said["kind"] == kind
        both = live.client.post("/predict", json={"text": list(LINES.values())}).json()
        assert both["labels"]["kind"] == list(LINES)
