"""``GET /``: one HTML file that needs no network and no build step. A policy allows only its own script and style."""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files


def _read(name: str) -> str:
    return files("lading.serve.pages").joinpath(name).read_text(encoding="utf-8")


PAGE = (
    _read("page.html")
    .replace("<style></style>", f"<style>\n{_read('page.css')}</style>")
    .replace("<script></script>", f"<script>\n{_read('page.js')}{_read('graph.js')}</script>")
)


def content_security_policy(page: str = PAGE) -> str:
    """Allow the script and style in the page, its own server, and pictures that the user chose; nothing else."""
    sources = {
        tag: " ".join(_hash(text) for text in re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL))
        for tag in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; img-src blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
