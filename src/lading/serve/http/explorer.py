"""``GET /docs``: Swagger UI, which sends requests from the browser by the OpenAPI document of ``/docs.json``.

Its files are in the package flask-swagger-ui, the kept copy of each release on PyPI. They are found without an import,
because an import would load Flask. The page loads nothing from another host.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from lading.errors import UnknownModelError
from lading.serve.pages.page import content_security_policy, page_of

PACKAGE = "flask_swagger_ui"
FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_PAGE = page_of("explorer.html", "page.css", "explorer.css", scripts=("access.js", "explorer.js"))
_HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    "content-security-policy": content_security_policy(_PAGE, own_files=True),
}
_FILE_HEADERS = {"x-content-type-options": "nosniff", "cache-control": "public, max-age=86400"}


def explorer_routes() -> list[Route]:
    """The page and the two files that it loads."""
    files = [Route(f"/docs/{name}", _file) for name in FILES]
    return [Route("/docs", _page), Route("/docs/", _page), *files]


async def _page(_: Request) -> Response:
    _folder()
    return Response(_PAGE, headers=_HEADERS, media_type="text/html")


async def _file(request: Request) -> Response:
    name = request.url.path.rpartition("/")[2]
    return FileResponse(_folder() / name, headers=_FILE_HEADERS, media_type=FILES[name])


@lru_cache(1)
def _folder() -> Path:
    """The files of Swagger UI.

    Raises:
        UnknownModelError: the package is not installed.
    """
    package = find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise UnknownModelError("the API explorer is not installed here: pip install flask-swagger-ui")
    return Path(package.origin).with_name("dist")
