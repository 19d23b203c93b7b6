"""The command ``oip-conformance``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from oip_conformance import report
from oip_conformance.connect import subjects_of
from oip_conformance.runner import Result, run
from oip_conformance.statement import STATEMENTS

NOT_CONFORMING, NOTHING_CHECKED = 1, 2
app = typer.Typer(add_completion=False)


@app.command()
def main(  # noqa: PLR0917 - options
    rest: Annotated[str | None, typer.Option(help="URL of the REST API, such as http://127.0.0.1:8080.")] = None,
    grpc: Annotated[str | None, typer.Option(help="HOST:PORT of the gRPC API; grpcs://HOST:PORT for TLS.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model to check; all that are listed if none.")] = None,
    inputs: Annotated[
        Path | None,
        typer.Option("--input", help="JSON file with an inference request, if the model needs real values."),
    ] = None,
    extension: Annotated[list[str] | None, typer.Option(help="Check an extension that is not listed.")] = None,
    may_reload: Annotated[bool, typer.Option(help="Unload and load the models. Not on a server in use.")] = False,
    header: Annotated[list[str] | None, typer.Option(help="'name: value', sent with every request.")] = None,
    authority: Annotated[
        Path | None, typer.Option("--ca", help="PEM file of the authority that signed the server's certificate.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.")] = 30.0,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit's XML to this file.")] = None,
    as_json: Annotated[Path | None, typer.Option("--json", help="Write all results as JSON to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Write a Markdown table to this file.")] = None,
    only: Annotated[str, typer.Option(help="Check statements whose id begins with this.")] = "",
    list_only: Annotated[bool, typer.Option("--list", help="List the statements, and check none.")] = False,
) -> None:
    """Check statements of the Open Inference Protocol on a running server. Exit code 1: a MUST failed."""
    console = Console()
    chosen = [statement for name, statement in STATEMENTS.items() if name.startswith(only)]
    if list_only:
        for each in chosen:
            console.print(
                f"{each.id}  {each.level.value}  {each.section.document}, {each.section.title}",
                markup=False,
                soft_wrap=True,
            )
            console.print(f"    {each.text}", markup=False, soft_wrap=True)
        console.print(f"{len(chosen)} statements")
        return
    try:
        subjects = subjects_of(
            rest,
            grpc,
            model or (),
            inputs=inputs,
            extensions=extension or (),
            may_reload=may_reload,
            headers=header or (),
            timeout_s=timeout,
            authority=authority,
        )
    except ValueError as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(NOTHING_CHECKED) from None
    with console.status("") as status:

        def progress(result: Result) -> None:
            status.update(f"{result.statement.id}")

        results = run(subjects, chosen, progress)
    for subject in subjects:
        subject.close()
    report.print_table(results, console)
    report.write(results, junit=junit, as_json_file=as_json, markdown=markdown)
    if any(result.breaks for result in results):
        raise typer.Exit(NOT_CONFORMING)
