"""A browser's way in: ``/session``, ours.

The dashboard cannot keep a key where scripts of a page could read it, and ``EventSource`` sends no headers. So the
browser holds the key in a cookie that no script sees (HttpOnly) and no other site can make it send (SameSite=Strict).

    POST   /session {"code": …} or {"key": …}     remember this browser; both are checked
    GET    /session                               whose key it is
    DELETE /session                               forget it

A *code* is what ``openrft serve`` prints within a link: it opens once, within an hour, and is signed with the first
key, so that a link can be made (``openrft dashboard``) without asking the server.

A request that changes something with nothing but the cookie has to carry the header :data:`HEADER` besides: a page of
another site cannot add one. Such pages are also refused by where they come from (:mod:`openrft.api.guard`).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from openrft.api.access import HEADER, Caller, check_key, cookie_name, known
from openrft.api.bodies import strict_json
from openrft.api.first_key import FILE_NAME
from openrft.api.platform import Platform
from openrft.errors import InvalidRequest, OpenRFTError, Unauthorized

PATH = "/session"

CODE_SECONDS = 3600
"""How long a login link is good."""

_COOKIE_SECONDS = 30 * 24 * 3600
_MOST_BYTES = 2_000


def make_code(first_key: str, *, now: float | None = None) -> str:
    """A new code, signed with the server's first key: ``EXPIRES.NONCE.SIGNATURE``."""
    expires = int((time.time() if now is None else now) + CODE_SECONDS)
    told = f"{expires}.{secrets.token_urlsafe(12)}"
    return f"{told}.{_signature(first_key, told)}"


def login_link(address: str, first_key: str) -> str:
    """A link that logs a browser in. The code stands behind ``#``: browsers send that to nobody."""
    return f"{address}/login#{make_code(first_key)}"


class Codes:
    """Which codes open. Each does once; what was used is remembered until it would have expired.

    Codes from before the server's start open nothing: which of them were used nobody knows any more.
    """

    def __init__(self, *, started: float | None = None) -> None:
        self._started = int(time.time() if started is None else started)
        self._used: dict[str, int] = {}
        self._lock = threading.Lock()

    def redeem(self, code: str, first_key: str, *, now: float | None = None) -> None:
        """Use up ``code``. Raises :class:`Unauthorized` for one that does not open, or no longer."""
        told, _, signature = code.rpartition(".")
        if not told or not hmac.compare_digest(_signature(first_key, told).encode(), signature.encode()):
            raise Unauthorized("this login link is not of this server; make a new one: openrft dashboard")
        expires, present = int(told.partition(".")[0]), time.time() if now is None else now
        if present > expires or expires - CODE_SECONDS < self._started:
            raise Unauthorized("this login link has expired, or the server was started after it was made; make a new "
                               "one: openrft dashboard")  # fmt: skip
        with self._lock:
            self._used = {used: end for used, end in self._used.items() if end >= present}
            if told in self._used:
                raise Unauthorized("this login link was used already; make a new one: openrft dashboard")
            self._used[told] = expires


def open_routes(platform: Platform) -> list[BaseRoute]:
    """:data:`PATH`; it is asked without a key."""
    codes = Codes()

    async def session(request: Request) -> Response:
        if request.method == "GET":
            caller = await run_in_threadpool(known, request, platform)
            return JSONResponse(_session_object(caller))
        _check_header(request)
        if request.method == "DELETE":
            answer = Response(status_code=204)
            answer.delete_cookie(cookie_name(platform), path="/", httponly=True, samesite="strict")
            return answer
        asked = await _body(request)
        plain, caller = await run_in_threadpool(_opened, platform, codes, asked)
        answer = JSONResponse(_session_object(caller))
        answer.set_cookie(
            cookie_name(platform),
            plain,
            max_age=_COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return answer

    return [Route(PATH, session, methods=["GET", "POST", "DELETE"])]


def _opened(platform: Platform, codes: Codes, asked: dict[str, str]) -> tuple[str, Caller]:
    """The key to remember, and whose it is."""
    if "key" in asked:
        return asked["key"], check_key(platform, asked["key"])
    try:
        first_key = (platform.home / FILE_NAME).read_text(encoding="ascii").strip()
    except OSError:
        raise OpenRFTError("the file with the first key cannot be read; log in with a key instead") from None
    codes.redeem(asked["code"], first_key)
    return first_key, check_key(platform, first_key)


def _session_object(caller: Caller) -> dict[str, Any]:
    key = caller.key
    return {
        "object": "session",
        "project_id": key.project_id,
        "key": {"id": key.id, "name": key.name, "scope": key.scope, "hint": key.hint},
    }


def _check_header(request: Request) -> None:
    if HEADER not in request.headers:
        raise InvalidRequest(f"send the header {HEADER}: 1; it shows that no page of another site asks", param=None)


async def _body(request: Request) -> dict[str, str]:
    """The request's body. Nobody's key is known yet, so no more of it is read than it may have."""
    wrong = InvalidRequest('the body: expected {"code": "…"} from a login link, or {"key": "…"}, as JSON')
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MOST_BYTES:
            raise wrong
    asked = strict_json(body)
    if not isinstance(asked, dict) or asked.keys() not in ({"code"}, {"key"}):
        raise wrong
    (name, value) = next(iter(asked.items()))
    if not isinstance(value, str):
        raise wrong
    if not value.isascii():
        raise Unauthorized(f"this {name} is not of this server; make a new link: openrft dashboard")
    return {name: value.strip()}


def _signature(first_key: str, told: str) -> str:
    return hmac.new(first_key.encode(), b"openrft login " + told.encode(), hashlib.sha256).hexdigest()
