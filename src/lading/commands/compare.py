"""``lading compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lading.terminal import console


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="artifact folder, or http://host:port of a running server")],
    b: Annotated[str, typer.Argument(metavar="B", help="likewise")],
    inputs: Annotated[
        Path | None, typer.Option(help="artifact whose golden inputs are asked; default: A's or B's")
    ] = None,
    variant_a: Annotated[str | None, typer.Option(help="variant of A, if it is an artifact")] = None,
    variant_b: Annotated[str | None, typer.Option(help="variant of B, if it is an artifact")] = None,
    min_agreement: Annotated[float, typer.Option(min=0, max=1, help="least share of rows that must agree")] = 1.0,
    tolerance: Annotated[float | None, typer.Option(min=0, help="largest difference allowed; default: any")] = None,
    out: Annotated[Path | None, typer.Option("--json", help="JSON file to write the comparison to")] = None,
) -> None:
    """Ask two artifacts or servers the same: agreement, largest difference, latency; exit code 3 beyond the tolerance.

    Example: `lading compare artifacts/cards http://127.0.0.1:8080`

    Example: `lading compare artifacts/cards artifacts/cards --variant-a fp32 --tolerance 0.2`
    """
    from lading.compare import compare as run
    from lading.compare import comparison_table
    from lading.errors import GateRefusedError

    found = run(a, b, inputs, (variant_a, variant_b))
    console().print(comparison_table(found))
    if out:
        out.write_text(found.model_dump_json(indent=2) + "\n")
    if found.agreement < min_agreement:
        raise GateRefusedError(
            f"they agree on {found.agreement:.2%} of the rows; at least {min_agreement:.2%} is asked for"
        )
    if tolerance is not None and not found.max_difference <= tolerance:
        raise GateRefusedError(f"they differ by {found.max_difference:.3g}; at most {tolerance:g} is allowed")
