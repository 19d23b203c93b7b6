"""An answer as rows of a chart or a table."""

from __future__ import annotations

import re
from typing import Any

SHOWN = 8


def label_rows(content: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The most likely labels of each output with their probabilities, the most likely first.

    Takes an answer of ``/classify``. Outputs without labels are left out.
    """
    values = content.get("probabilities") or content.get("scores") or {}
    return {
        output: [
            {"label": label, "probability": value}
            for label, value in sorted(labels.items(), key=lambda entry: -entry[1])[:SHOWN]
        ]
        for output, labels in values.items()
    }


def number_rows(content: dict[str, Any], outputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per number of the first example: property, value, unit. Takes an answer of ``/predict``."""
    rows: list[dict[str, Any]] = []
    for output in outputs:
        values = _flat((content.get("outputs") or {}).get(output["name"]))
        names = output.get("labels") or [str(index) for index in range(len(values))]
        for name, value in zip(names, values, strict=False):
            title = output["name"] if len(values) == 1 else f"{output['name']}: {name}"
            rows.append({"property": title, "value": value, "unit": output.get("unit") or ""})
    return rows


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows with the same keys as a table in Markdown. Streamlit's own tables need pandas and pyarrow."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([plain(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def plain(value: Any) -> str:
    """A value as Markdown that shows exactly its text."""
    return re.sub(r"([^\w\s])", r"\\\1", " ".join(str(value).split()))


def _flat(value: Any) -> list[float]:
    """The numbers of the first example."""
    while isinstance(value, list) and value and isinstance(value[0], list):
        value = value[0]
    if isinstance(value, list):
        return [float(number) for number in value]
    return [] if value is None else [float(value)]
