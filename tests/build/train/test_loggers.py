"""Where a run is logged: W&B offline unless there is a key, and always in the run's own folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lading.build.train.checkpoint import read_card
from lading.build.train.config import compose
from lading.build.train.loggers import wandb_mode
from lading.build.train.train import train, train_command
from tests.given.tiny import TinyImage

TARGET = "tests/given/tiny.py:TinyImage"
FAST = ["data.workers=0", "trainer.progress=false", "data.batch_size=16", "trainer.threads=1"]


@pytest.mark.parametrize(
    ("environment", "mode"),
    [
        ({}, "offline"),
        ({"WANDB_API_KEY": "k"}, "online"),
        ({"WANDB_SWEEP_ID": "s"}, "online"),
        ({"WANDB_MODE": "online"}, "offline"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": "k"}, "offline"),
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "k"}, "disabled"),
    ],
)
def test_wandb_is_online_only_with_a_key(environment: dict[str, str], mode: str) -> None:
    assert wandb_mode(environment) == mode


LOGINS: dict[str, tuple[str, dict[str, str], str]] = {
    "what wandb login writes": ("machine api.wandb.ai\n  login user\n  password KEY\n", {}, "online"),
    "its newer name": ("machine api.forge.coreweave.com login user password KEY\n", {}, "online"),
    "a server of one's own": (
        "machine wandb.example.com:8443 login user password KEY\n",
        {"WANDB_BASE_URL": "https://wandb.example.com:8443"},
        "online",
    ),
    "another server": ("machine api.wandb.ai login user password KEY\n", {"WANDB_BASE_URL": "https://b"}, "offline"),
    "a login for something else": ("machine github.com login user password KEY\n", {}, "offline"),
    "no password": ("machine api.wandb.ai login user\n", {}, "offline"),
    "a broken file": ("machine api.wandb.ai passwort KEY\n", {}, "offline"),
    "asked to stay offline": (
        "machine api.wandb.ai login user password KEY\n",
        {"WANDB_MODE": "offline"},
        "offline",
    ),
}


@pytest.mark.parametrize(("content", "environment", "mode"), LOGINS.values(), ids=LOGINS)
@pytest.mark.parametrize("named", [False, True], ids=["at home", "named"])
def test_the_login_that_wandb_wrote_counts(
    tmp_path: Path, content: str, environment: dict[str, str], mode: str, named: bool
) -> None:
    file = tmp_path / ("logins" if named else ".netrc")
    file.write_text(content)
    file.chmod(0o600)
    where = {"NETRC": str(file)} if named else {"HOME": str(tmp_path)}
    assert wandb_mode(where | environment) == mode


def test_the_server_that_a_login_noted_is_looked_up(tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine wandb.example.com login user password KEY\n")
    (tmp_path / ".netrc").chmod(0o600)
    settings = tmp_path / ".config" / "wandb" / "settings"
    settings.parent.mkdir(parents=True)
    settings.write_text("[default]\nbase_url = https://wandb.example.com\n")
    assert wandb_mode({"HOME": str(tmp_path)}) == "online"
    assert wandb_mode({"HOME": str(tmp_path), "WANDB_CONFIG_DIR": str(tmp_path / "none")}) == "offline"


def test_an_offline_wandb_run_holds_the_model_and_goes_on_under_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in [key for key in os.environ if key.startswith("WANDB")]:
        monkeypatch.delenv(key)
    config = compose(TARGET, [*FAST, "trainer.max_epochs=1"])
    first = read_card(train(TinyImage(), config, tmp_path))
    second = read_card(train_command("", ["trainer.max_epochs=2"], out=None, resume=tmp_path))
    assert first is not None
    assert second is not None
    assert first.run_id == second.run_id
    folders = list((tmp_path / "wandb").glob(f"offline-run-*-{first.run_id}"))
    assert folders
    logged = b"".join(file.read_bytes() for folder in folders for file in folder.glob("*.wandb"))
    for name in (b"tiny-image.safetensors", b"confusion-colour", b"valid/score", b"test/accuracy"):
        assert name in logged


@pytest.mark.slow
def test_without_a_key_a_run_is_logged_offline_and_nobody_is_asked(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("WANDB")}
    command = [sys.executable, "-m", "lading.cli.main", "train", TARGET, *FAST, "trainer.max_epochs=1", "--out"]
    finished = subprocess.run(
        [*command, str(tmp_path)],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    (offline,) = (tmp_path / "wandb").glob("offline-run-*")
    card = json.loads((tmp_path / "tiny-image.run.json").read_text())
    assert offline.name.endswith(card["run_id"])
