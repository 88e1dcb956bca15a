"""The application: the table of contents of all routes, and what encloses them.

Observed (request id, log, errors) → Azure's path → Guard (host, origin, body) → the key → the route
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Receive, Scope, Send

from openrft import __version__
from openrft.api import (
    alarms,
    chat,
    checkpoints,
    compare_evaluations,
    comparisons,
    completions,
    eval_compare,
    eval_runs,
    evals,
    events,
    examples,
    exports,
    file_preview,
    files,
    graders,
    health,
    job_options,
    job_settings,
    jobs,
    left_out,
    models,
    observe,
    pages,
    permissions,
    plans,
    projects,
    rehearsals,
    responses,
    rollouts,
    session,
    stream,
    summaries,
    uploads,
    usage,
    webhooks,
)
from openrft.api.access import known
from openrft.api.envelope import add_handlers
from openrft.api.graders import GraderRuns
from openrft.api.guard import Guard, Hosts
from openrft.api.housekeeping import keep_house
from openrft.api.measures import Measures
from openrft.api.observed import Observed
from openrft.api.platform import Platform
from openrft.api.rates import Rates
from openrft.api.summaries import EndedJobs
from openrft.api.visits import KeptVisits
from openrft.config.reachable import restricted

ROUTERS: tuple[APIRouter, ...] = (
    files.router,
    file_preview.router,
    uploads.router,
    models.router,
    graders.router,
    permissions.router,
    projects.router,
    jobs.router,
    job_options.router,
    plans.router,
    rehearsals.router,
    summaries.router,
    comparisons.router,
    events.router,
    checkpoints.router,
    observe.router,
    compare_evaluations.router,
    job_settings.router,
    alarms.router,
    left_out.router,  # before the rollouts, of which its name could be one
    rollouts.router,
    examples.router,
    exports.router,
    stream.router,
    usage.router,
    webhooks.router,
    evals.router,
    eval_runs.router,
    eval_compare.router,
    chat.router,
    responses.router,
    completions.router,
)
"""Every router under ``/v1``, in the order of the documentation."""

OPEN_PATHS = health.PATHS | pages.PATHS | {session.PATH}
"""What is answered without a key: is it there, the dashboard's page and files, and the way to log in."""

_THREADS = 64  # routes at work at once


def create_app(platform: Platform) -> FastAPI:
    """The application for ``platform``. Every route wants a key unless it is in :data:`OPEN_PATHS`."""
    app = FastAPI(
        title="openrft",
        version=__version__,
        description="OpenAI's fine-tuning API on your own machine.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # a route of its own below: with a key, like all others
        redirect_slashes=False,
        dependencies=[Depends(known)],
        lifespan=_lifespan,
    )
    app.state.platform = platform
    app.state.measures = Measures()
    app.state.rates = Rates(platform.settings.server.requests_per_second)
    app.state.grader_runs = GraderRuns()
    app.state.ended_jobs = EndedJobs()
    app.state.visits = KeptVisits()
    for router in ROUTERS:
        app.include_router(router, prefix="/v1")
    app.include_router(health.router)
    app.add_api_route("/openapi.json", _show_document, methods=["GET"], include_in_schema=False)
    for routes in (health.open_routes(platform), session.open_routes(platform), pages.open_routes()):
        app.router.routes.extend(routes)
    add_handlers(app)
    hosts = Hosts(urlsplit(platform.address).hostname or "", platform.settings.server.allowed_hosts)
    app.add_middleware(Guard, hosts=hosts, most_file_bytes=platform.settings.server.max_file_bytes)
    app.add_middleware(_AzurePath)
    app.add_middleware(Observed, measures=app.state.measures)
    app.openapi = lambda: _document(app)  # type: ignore[method-assign]
    return app


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    platform: Platform = app.state.platform
    anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
    # While this process serves others it calls, for them, public addresses only.
    with restricted(platform.settings.server.reachable):
        house = asyncio.create_task(keep_house(platform.store))
        try:
            yield
        finally:
            house.cancel()
            await asyncio.gather(house, return_exceptions=True)


def _show_document(request: Request) -> dict[str, Any]:
    """The OpenAPI document of this server."""
    document: dict[str, Any] = request.app.openapi()
    return document


class _AzurePath:
    """Azure's clients put ``/openai`` before every path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/openai/v1/"):
            raw = scope.get("raw_path") or b""
            scope = {**scope, "path": scope["path"].removeprefix("/openai"), "raw_path": raw.removeprefix(b"/openai")}
        await self._app(scope, receive, send)


def _document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; what bodies refer to stands beside what answers refer to."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        components = document.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        for unused in ("HTTPValidationError", "ValidationError"):
            schemas.pop(unused, None)
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
        for operations in document["paths"].values():
            for operation in operations.values():
                # What FastAPI writes of its own wrong parameters; ours are 400, in the envelope.
                operation["responses"].pop("422", None)
                operation["responses"]["4XX"] = {"description": "What is wrong with the request, in OpenAI's envelope"}
                for content in operation.get("requestBody", {}).get("content", {}).values():
                    schemas.update(content["schema"].pop("$defs", {}))
        app.openapi_schema = document
    return app.openapi_schema
