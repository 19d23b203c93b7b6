"""What does checking a signature add to a load? Decision 43: 1 to 3 ms beside the hashing that is done anyway.

python -m benchmarks.studies.0043_signature_check artifacts/cards --rounds 60
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from lading.artifact import MANIFEST, Artifact
from lading.signing.folder import file_digest, signed_files
from lading.signing.keys import new_keys, read_private_key
from lading.signing.sign import check_folder, sign_folder
from lading.signing.trusted_keys import TrustedKeys


def medians_ms(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """The median time of each call in milliseconds. They take turns, so that a busy machine slows all of them."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(rounds):
        for run, taken in zip(runs, times, strict=True):
            begin = time.perf_counter()
            run()
            taken.append((time.perf_counter() - begin) * 1e3)
    return [statistics.median(taken) for taken in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    given = parser.parse_args()
    table = Table("trusted keys", "hashing ms", "signature and hashing ms", "reading the keys ms", "added ms")
    for count in (1, 20):
        with tempfile.TemporaryDirectory() as folder:
            table.add_row(str(count), *_row(given.artifact, Path(folder), count, given.rounds))
    Console(width=120).print(table)


def _row(artifact: Path, folder: Path, count: int, rounds: int) -> list[str]:
    copied = Path(shutil.copytree(artifact, folder / "artifact"))  # it gets a signature
    for number in range(count):
        new_keys(folder / f"key-{number}.pem")
    sign_folder(copied, read_private_key(folder / "key-0.pem", lambda: ""))
    places = [folder / f"key-{number}.pub" for number in range(count)]
    trusted = TrustedKeys(places)
    Artifact.load(copied, places)
    hashing, checking, reading = medians_ms(
        (
            lambda: [file_digest(copied / name) for name in signed_files(copied)],
            lambda: check_folder(copied, trusted, MANIFEST),
            lambda: TrustedKeys(places),
        ),
        rounds,
    )
    added = checking - hashing + reading
    return [f"{value:.2f}" for value in (hashing, checking, reading, added)]


if __name__ == "__main__":
    main()
