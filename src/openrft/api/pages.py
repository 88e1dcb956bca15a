"""The dashboard in the browser: its one page at each of its addresses, and its files.

Open to everybody, because nothing of a project is in them: whatever they show they ask the API for, with the browser's
key.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from openrft.dashboard import Assets
from openrft.errors import NotFound

PAGES = (
    "login",
    "finetune",
    "compare",
    "playground",
    "files",
    "models",
    "evals",
    "graders",
    "keys",
    "usage",
)
"""First parts of the dashboard's addresses. ``/finetune/{job_id}`` is OpenAI's."""

_ADDRESSES = ("/", *(f"/{name}" for name in PAGES), *(f"/{name}/{{rest:path}}" for name in PAGES))
_ASSETS = "/assets/{version}/{name:path}"
_ICON = "/favicon.ico"

PATHS = frozenset({*_ADDRESSES, _ASSETS, _ICON})
"""All that is answered here."""

_FOR_EVER = "public, max-age=31536000, immutable"


def is_page(path: str) -> bool:
    """Whether the address ``path`` is the dashboard's page."""
    return path == "/" or path.split("/", 2)[1] in PAGES


def open_routes() -> list[BaseRoute]:
    """The page and the files."""
    assets = Assets()

    def page(_: Request) -> Response:
        headers = {"Content-Security-Policy": assets.policy, "Cache-Control": "no-cache"}
        return Response(assets.page, media_type="text/html; charset=utf-8", headers=headers)

    def file(request: Request) -> Response:
        asset = assets.get(request.path_params["name"])
        if asset is None or request.path_params["version"] != assets.version:
            raise NotFound("the dashboard has no such file; reload the page")
        headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.packed, media_type=asset.media_type, headers={**headers, "Content-Encoding": "gzip"})
        return Response(asset.body, media_type=asset.media_type, headers=headers)

    def favicon(_: Request) -> Response:
        asset = assets.get("favicon.svg")
        assert asset is not None
        return Response(asset.body, media_type=asset.media_type)

    return [
        *(Route(address, page, methods=["GET"]) for address in _ADDRESSES),
        Route(_ASSETS, file, methods=["GET"]),
        Route(_ICON, favicon, methods=["GET"]),
    ]
