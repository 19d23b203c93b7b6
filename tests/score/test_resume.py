"""A run that is killed goes on after its last whole part, and its result is the one of a run that was not."""

from __future__ import annotations

import fcntl
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lading.artifact import Artifact
from lading.errors import DataError
from lading.score.parts import Parts
from tests.score.scored import features, read, run, write_parquet


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_run_killed_in_the_middle_goes_on(small: dict[str, Artifact], tmp_path: Path, suffix: str) -> None:
    source = write_parquet(tmp_path / "in.parquet", features(600), row_group=250)
    output, parts = tmp_path / f"out{suffix}", Parts(tmp_path / f"out{suffix}")
    words = ["score", str(small["table"].path), str(source), str(output), "--part-rows", "2", "--keep", "id"]
    with subprocess.Popen([sys.executable, "-m", "lading", *words]) as process:
        while process.poll() is None and len(list(parts.folder.glob("part-*"))) < 5:
            time.sleep(0.002)
        process.kill()
    whole = len(list(parts.folder.glob("part-*")))
    assert not output.exists()
    (parts.folder / ".part-000900.torn").write_bytes(b"half")

    done = run(small["table"], source, output, part_rows=2, keep=("id",))
    assert done.scored == 600 - 2 * whole
    assert not parts.folder.exists()
    run(small["table"], source, tmp_path / f"whole{suffix}", part_rows=2, keep=("id",))
    assert output.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert len(read(output)) == 600


def test_a_run_cut_off_at_the_end_joins_again(small: dict[str, Artifact], tmp_path: Path) -> None:
    source, output = write_parquet(tmp_path / "in.parquet", features(10)), tmp_path / "out.jsonl"
    parts = Parts(output)

    class StoppedError(Exception):
        pass

    def stop(path: Path) -> Path:
        raise StoppedError(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("shutil.rmtree", stop)
        with pytest.raises(StoppedError):
            run(small["table"], source, output)
    parts.record.unlink()
    before = output.read_bytes()
    output.write_bytes(b"")
    assert run(small["table"], source, output).scored == 0
    assert output.read_bytes() == before
    assert parts.record.is_file()
    assert not parts.folder.exists()


def test_parts_of_another_plan_are_not_mixed_in(small: dict[str, Artifact], tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "in.parquet", features(10) * 100)  # out of range
    output = tmp_path / "out.jsonl"
    with pytest.raises(DataError, match="row 0"):
        run(small["table"], source, output)
    with pytest.raises(DataError, match="parts of another run: its keep_errors is different"):
        run(small["table"], source, output, keep_errors=True)
    assert run(small["table"], source, output, keep_errors=True, overwrite=True).finished.errors


def test_two_runs_do_not_write_one_result(small: dict[str, Artifact], tmp_path: Path) -> None:
    source, output = write_parquet(tmp_path / "in.parquet", features(10) * 100), tmp_path / "out.jsonl"
    with pytest.raises(DataError, match="row 0"):
        run(small["table"], source, output)
    parts = Parts(output)
    with (parts.folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another run is writing"):
            run(small["table"], source, output)


MEASURE = """
import sys
from pathlib import Path
from lading.artifact import Artifact
from tests.score.scored import run
run(Artifact.load(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), lanes=2, keep=("blob",), part_rows=1000)
status = Path("/proc/self/status").read_text()  # unlike getrusage, not the peak of the process that started this one
print(status.split("VmHWM:")[1].split()[0])
"""
MIB = 1 << 20


@pytest.mark.slow
def test_a_table_many_times_as_large_takes_no_more_memory(small: dict[str, Artifact], tmp_path: Path) -> None:
    peaks = []
    # The first table is large enough to fill the allocator's pools, whose size goes by threads and chance, not by rows.
    for rows in (10_000, 100_000):
        source, blobs = tmp_path / f"{rows}.parquet", random.Random(0).randbytes(4096)
        column = pa.FixedSizeListArray.from_arrays(pa.array(features(rows).ravel()), 4)
        unlike = [blobs[number % 4000 :] + bytes(str(number), "ascii") for number in range(rows)]
        # One row group: nothing but streaming inside it keeps this small.
        pq.write_table(pa.table({"features": column, "blob": unlike}), source, compression="none", use_dictionary=False)
        words = [sys.executable, "-c", MEASURE, str(small["batched"].path), str(source), f"{source}.parquet"]
        done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]) * 1024)
    assert source.stat().st_size > 192 * MIB
    assert peaks[1] - peaks[0] < 64 * MIB, peaks
