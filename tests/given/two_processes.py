"""``torchrun --nproc-per-node 2 -m tests.given.two_processes OUT``, for tests/build/train/test_processes.py."""

from __future__ import annotations

import sys
from pathlib import Path

from lading.build.train.processes import joined
from lading.build.train.train import train_command
from lading.errors import SpecError

FAST = ["data.workers=0", "trainer.progress=false", "optimizer.lr=0.03", "trainer.threads=1", "trainer.max_epochs=4"]
PLAIN = [*FAST, "logger.wandb=false"]
IMAGE = ("tests/given/tiny.py:TinyImage", ["data.batch_size=12"])
GRAPH = ("tests/given/tiny.py:TinyGraph", ["data.batch_size=20"])


def main(out: Path) -> None:
    """Train in two processes, go on with what one began, and begin what one goes on with."""
    with joined() as group:
        train_command(IMAGE[0], [*FAST, *IMAGE[1]], out=out / "image-2")
        train_command(GRAPH[0], [*PLAIN, *GRAPH[1], "data.workers=1"], out=out / "graph-2")
        train_command(IMAGE[0], ["trainer.max_epochs=4"], out=out / "begun-by-1", restartable=True)
        train_command(IMAGE[0], [*PLAIN, *IMAGE[1], "trainer.max_epochs=2"], out=out / "begun-by-2")
        try:
            train_command(IMAGE[0], [*PLAIN, "data.batch_size=15"], out=out / "odd")
        except SpecError as error:
            (out / f"refused-by-{group.rank}").write_text(str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
