"""``GET /``: one HTML file that needs no network and no build step. A policy allows only its own script and style."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files


def _read(name: str) -> str:
    return files("lading.serve.pages").joinpath(name).read_text(encoding="utf-8")


def page_of(template: str, *styles: str, scripts: tuple[str, ...]) -> str:
    """A page of this folder, with the styles and the scripts inside it."""
    return (
        _read(template)
        .replace("<style></style>", f"<style>\n{''.join(map(_read, styles))}</style>")
        .replace("<script></script>", f"<script>\n{''.join(map(_read, scripts))}</script>")
    )


PAGE = page_of(
    "page.html", "page.css", scripts=("access.js", "page.js", "graph.js", "table.js", "fields.js", "models.js")
)
# A report that was read with a key is opened by the page, under the page's policy.
REPORT = files("lading.drift").joinpath("report.html.j2").read_text(encoding="utf-8")


def content_security_policy(page: str = PAGE + REPORT, *, own_files: bool = False) -> str:
    """Allow the script and style in the page, its own server, and pictures that the user chose; nothing else.

    Args:
        page: HTML.
        own_files: allow script and style files of the server too.
    """
    own = "'self' " if own_files else ""
    sources = {
        tag: own + " ".join(_hash(text) for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
