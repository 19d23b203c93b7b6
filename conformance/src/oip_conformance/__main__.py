"""``python -m oip_conformance`` is the command ``oip-conformance``."""

from oip_conformance.cli import app

app(prog_name="oip-conformance")
