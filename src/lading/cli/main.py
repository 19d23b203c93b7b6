"""The command line: each command reads its arguments and calls one stage.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a gate refused.
"""

from __future__ import annotations

import errno
import logging
import sys
from typing import Annotated

import typer

from lading import __version__
from lading.cli.artifact import check, compare, fetch, inspect, report, values
from lading.cli.build import build, export, import_, init, pack, prune, quantize, verify
from lading.cli.operate import canary, drift, load, monitor, retrain, why
from lading.cli.promote import candidate, promote
from lading.cli.serve import doctor, score, serve
from lading.cli.sign import keys, sign, verify_signature
from lading.cli.terminal import console, errors
from lading.cli.train import prepare, sweep, train, vertex
from lading.cli.up import down, image, up
from lading.errors import LadingError

app = typer.Typer(
    name="lading",
    help="From a trained PyTorch model to a measured, monitored service.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


for command in (
    *(train, prune, export, quantize, verify, pack, build),
    *(inspect, report, serve, prepare, retrain, sweep, vertex, score, doctor, compare),
    *(import_, init, monitor, load, canary, why, values, fetch, check),
    *(image, up, down),
    *(promote, candidate),
    *(sign, verify_signature),
):
    app.command(command.__name__.rstrip("_").replace("_", "-"))(command)
app.add_typer(drift)
app.add_typer(keys)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="show the version")] = False) -> None:
    if version:
        console().print(__version__)
        raise typer.Exit


EXTRAS = {
    "build": {"hydra", "jinja2", "lightning", "matplotlib", "onnx", "onnxscript", "torch", "torch_pruning"},
    "serve": {
        *("cryptography", "google", "grpc", "httpx", "obstore", "orjson", "pydantic_settings"),
        *("starlette", "structlog", "uvicorn"),
    },
}
"""Packages that an extra brings, by the name that Python imports. Commands of other extras name theirs."""


_OTHER = "Give another place, or change who may write there"
OF_THE_MACHINE = {
    errno.ENOSPC: "Free some space, and run it again",
    errno.EDQUOT: "Free some space, and run it again",
    errno.EACCES: _OTHER,
    errno.EPERM: _OTHER,
    errno.EROFS: _OTHER,
    errno.ENOTDIR: "Give a folder, or move the file away",
    errno.EEXIST: "Give a folder, or move the file away",
    errno.EISDIR: "Give a file",
    errno.ENAMETOOLONG: "Give a shorter name",
}
"""What to do about what a disk or its owner refuses; every other error of the system is a fault of this program."""


def main() -> None:
    """Entry point of the ``lading`` command."""
    logging.basicConfig(level=logging.WARNING)
    try:
        app()
    except ModuleNotFoundError as error:
        top = (error.name or "").partition(".")[0]
        extra = next((extra for extra, packages in EXTRAS.items() if top in packages), None)
        if extra is None:
            raise
        errors().print(f"this command needs {top}: pip install 'lading[{extra}]'", markup=False, soft_wrap=True)
        sys.exit(1)
    except LadingError as error:
        errors().print(f"[bold red]{type(error).__name__.removesuffix('Error')}[/bold red]: ", end="")
        errors().print(str(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.errno not in OF_THE_MACHINE:
            raise
        where = f"{error.filename}: " if error.filename else ""
        errors().print("[bold red]File[/bold red]: ", end="")
        errors().print(f"{where}{error.strerror}. {OF_THE_MACHINE[error.errno]}", markup=False, soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
