"""Results as a table, and as JUnit, JSON and Markdown files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from rich.console import Console
from rich.table import Table

from oip_conformance import __version__
from oip_conformance.runner import Outcome, Result
from oip_conformance.statement import Level

MARKS = {Outcome.PASSED: "passed", Outcome.FAILED: "FAILED", Outcome.SKIPPED: "skipped"}


def by_section(results: Sequence[Result]) -> dict[tuple[str, str], Counter[str]]:
    """Numbers of passed, failed and skipped statements of each document and section, in the order of the texts."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for result in results:
        section = result.statement.section
        counts.setdefault((section.document, section.title), Counter())[result.outcome.value] += 1
    return dict(sorted(counts.items(), key=lambda item: _documents(results).index(item[0][0])))


def summary(results: Sequence[Result]) -> str:
    """One sentence with the numbers."""
    failed = [result for result in results if result.outcome is Outcome.FAILED]
    counts = Counter(result.outcome for result in results)
    levels = ", ".join(
        f"{number} {level.value}"
        for level in Level
        if (number := sum(result.statement.level is level for result in failed))
    )
    detail = f" ({levels})" if levels else ""
    return (
        f"{len(results)} statements: {counts[Outcome.PASSED]} passed, {counts[Outcome.FAILED]} failed{detail}, "
        f"{counts[Outcome.SKIPPED]} skipped"
    )


def print_table(results: Sequence[Result], console: Console) -> None:
    """A row per section, then each failed statement with what the server did."""
    table = Table("section", "passed", "failed", "skipped", title=None)
    document = ""
    for (name, title), counts in by_section(results).items():
        if name != document:
            table.add_section()
            table.add_row(f"[bold]{name}[/bold]")
            document = name
        numbers = (str(counts[outcome.value] or "") for outcome in Outcome)
        table.add_row(f"  {title}", *numbers)
    console.print(table)
    for result in results:
        if result.outcome is Outcome.FAILED:
            each = result.statement
            console.print(f"{each.level.value} {each.id}: {each.text}", style="red", markup=False, soft_wrap=True)
            console.print(f"    {result.reason}", markup=False, soft_wrap=True)
            where = f"{each.section.document}, {each.section.title}: {each.section.url}"
            console.print(f"    {where}", markup=False, soft_wrap=True)
    console.print(summary(results))


def as_json(results: Sequence[Result]) -> str:
    """All results, for programs."""
    rows = [
        {
            "id": result.statement.id,
            "text": result.statement.text,
            "document": result.statement.section.document,
            "section": result.statement.section.title,
            "url": result.statement.section.url,
            "level": result.statement.level.value,
            "over": list(result.statement.over),
            "outcome": result.outcome.value,
            "reason": result.reason,
            "seconds": round(result.seconds, 4),
        }
        for result in results
    ]
    return json.dumps({"oip_conformance": __version__, "results": rows}, indent=2, ensure_ascii=False)


def as_markdown(results: Sequence[Result]) -> str:
    """A table of all statements, and the numbers."""
    lines = [summary(results) + ".", "", "| Statement | Section | Level | Result |", "|---|---|---|---|"]
    for result in results:
        each = result.statement
        reason = f": {cell(result.reason)}" if result.reason else ""
        section = f"[{each.section.document}, {each.section.title}]({each.section.url})"
        lines.append(f"| {cell(each.text)} | {section} | {each.level.value} | {MARKS[result.outcome]}{reason} |")
    return "\n".join(lines) + "\n"


def as_junit(results: Sequence[Result]) -> str:
    """JUnit's XML. A failed SHOULD or MAY is a skipped test that says so: it does not break a build."""
    suite = ElementTree.Element("testsuite", name="oip-conformance", tests=str(len(results)))
    for result in results:
        each = result.statement
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"oip_conformance.{each.group}", name=each.id.partition(".")[2]
        )
        case.set("time", f"{result.seconds:.4f}")
        said = f"{each.level.value} {each.text}\n{result.reason}\n{each.section.url}"
        if result.breaks:
            ElementTree.SubElement(case, "failure", message=_printable(result.reason)).text = _printable(said)
        elif result.outcome is not Outcome.PASSED:
            failed = result.outcome is Outcome.FAILED
            message = f"{each.level.value} failed: {result.reason}" if failed else result.reason
            ElementTree.SubElement(case, "skipped", message=_printable(message)).text = _printable(said)
    suite.set("failures", str(sum(result.breaks for result in results)))
    suite.set("skipped", str(sum(not result.breaks and result.outcome is not Outcome.PASSED for result in results)))
    ElementTree.indent(suite)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def write(results: Sequence[Result], *, junit: Path | None, as_json_file: Path | None, markdown: Path | None) -> None:
    """Write the files that are named."""
    for file, text in ((junit, as_junit), (as_json_file, as_json), (markdown, as_markdown)):
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text(results), encoding="utf-8")


def cell(text: str) -> str:
    """Text for a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _documents(results: Sequence[Result]) -> list[str]:
    return list(dict.fromkeys(result.statement.section.document for result in results))


def _printable(text: str) -> str:
    """XML has no control characters."""
    return "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text)
