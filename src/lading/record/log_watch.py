"""Follows a payload log: what it holds, and then what is new in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import structlog

from lading.artifact import Artifact
from lading.errors import DataError
from lading.record.drift_check import DriftCheck
from lading.record.joined import Joined
from lading.record.log_source import DAY, LogFile, LogSource, files_of_feedback, files_of_model, log_source
from lading.record.payload_reader import Row, read_rows

log = structlog.get_logger("lading.drift")
LATE = timedelta(days=1)
"""A file that is written later than this after its day began to be the past is not seen."""


class LogWatch:
    """Adds the rows of a log to what is joined.

    Args:
        source: the log.
        joined: receives the rows.
        truths: read the feedback too.
    """

    def __init__(self, source: LogSource, joined: Joined, *, truths: bool = True) -> None:
        self._source, self._joined, self._truths = source, joined, truths
        self._seen: dict[str, str] = {}
        """The day of each file by its path."""

    def refresh(self) -> int:
        """Read the new files, the newest first, and only those that can change the result.

        Returns:
            Number of new files. One that cannot be read is left out, and logged.

        Raises:
            DataError: the log cannot be listed.
        """
        since = _day_before(max(self._seen.values(), default=""))
        truths = self._unseen(files_of_feedback(self._source, since)) if self._truths else []
        answers = self._unseen(files_of_model(self._source, self._joined.manifest.name, since))
        for file in truths:
            self._joined.add_truths(self._rows(file))
        for file in answers:
            if not self._joined.full_from(file.modified):
                self._joined.add_rows(self._rows(file))
        known = {**self._seen, **{file.path: file.day for file in (*truths, *answers)}}
        self._seen = {path: day for path, day in known.items() if day >= since}
        return len(truths) + len(answers)

    def _unseen(self, files: Iterable[LogFile]) -> list[LogFile]:
        return [file for file in files if file.path not in self._seen]

    def _rows(self, file: LogFile) -> Iterator[Row]:
        try:
            yield from read_rows(self._source, file)
        except DataError as error:
            log.warning("a file of the payload log is left out", error=str(error))


def _day_before(day: str) -> str:
    with suppress(ValueError):
        return f"{DAY}{date.fromisoformat(day.removeprefix(DAY)) - LATE}"
    return ""


def check_log(log: str | Path, artifact: Artifact, *, newest: int) -> DriftCheck:
    """Compare the newest examples of a log with an artifact's reference.

    Args:
        log: the folder or the bucket of the payload log.
        artifact: the served artifact. Answers of variants other than the chosen one are ignored.
        newest: number of examples.

    Raises:
        DataError: the log cannot be read or holds no answer of the artifact's model, or the artifact has no thresholds.
    """
    source = log_source(log)
    joined = Joined(artifact, newest)
    joined.require_thresholds()
    if not LogWatch(source, joined).refresh():
        raise DataError(f"{source} holds no file of a payload log: name what LADING_PAYLOAD_LOG names")
    return joined.check()
