"""Commands of other programs, as steps that say what they do, why they failed, and when they are not needed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lading.errors import DeployError

DIGEST = "$DIGEST"
"""In a written command: the first digits of an artifact that is not built yet."""
TAIL = 12
"""Lines of a failed command that are repeated."""


@dataclass(frozen=True)
class Step:
    """A command, and when it is not needed."""

    title: str
    command: tuple[str, ...]
    into: Path | None = None
    """File for its output."""
    done: Callable[[], str | None] = lambda: None
    """Why there is nothing to do; ``None``: there is."""
    why: Callable[[], str] = lambda: ""
    """The cause of a failure, if the cluster knows more than the command."""
    shown: bool = False
    """Whether its output appears while it runs."""

    def __str__(self) -> str:
        return written(self.command) + (f" > {shlex.quote(str(self.into))}" if self.into else "")

    def run(self) -> None:
        """Run the command.

        Raises:
            DeployError: it failed, or its program is missing.
        """
        command = [sys.executable, "-m", *self.command] if self.command[0] == "lading" else list(self.command)
        try:
            ended = subprocess.run(command, text=True, check=False, capture_output=not self.shown)
            failure, code = ended.stderr or ended.stdout or "", ended.returncode
        except FileNotFoundError:
            raise DeployError(f"the step {self.title!r} needs {command[0]}, which is not installed here") from None
        if code:
            lines = "\n".join(failure.strip().splitlines()[-TAIL:])
            reason = "\n".join(filter(None, (self.why(), lines))) or "the lines above say why"
            raise DeployError(
                f"the step {self.title!r} failed: {reason}\n"
                "mend that and run the same command again: it continues with this step"
            )
        if self.into is not None:
            self.into.write_text(ended.stdout)


def written(command: Sequence[str]) -> str:
    """A command as a shell reads it; the variable :data:`DIGEST` stays one."""
    return " ".join(f'"{word}"' if DIGEST in word else shlex.quote(word) for word in command)


def ask(*command: str, stdin: str | None = None) -> str | None:
    """Standard output of a command; ``None`` if it fails or is not there."""
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, input=stdin)
    except FileNotFoundError:
        return None
    return ended.stdout if ended.returncode == 0 else None
