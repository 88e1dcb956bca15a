"""What never reaches a route: requests by a foreign name or from a foreign page, and bodies that are packed or endless.

Host      a page that somebody's browser shows can make its own name lead to this machine ("DNS rebinding"), also to a
          server that listens on loopback only. Its requests carry that name, and are refused.
Origin    a page of another site may send requests from a browser. Such requests say where they come from.
Body      counted as it comes; what is packed is refused, because a little of it may unpack to any size.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from urllib.parse import unquote, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openrft.api.bodies import MOST_JSON_BYTES
from openrft.api.pages import is_page
from openrft.errors import Forbidden, InvalidRequest, TooLarge, shown

BODY_SECONDS = 60.0
"""How long the next piece of a body may take."""

_FILES = ("/v1/files", "/v1/uploads")  # where a body may be as large as a file
_AROUND_A_FILE = 1024**2  # bytes of a multipart body beside the file
_READ_AND_DROPPED = 64 * 1024**2  # of a body that is too large, so that its sender gets to read the answer


class Guard:
    """ASGI middleware; raises errors of ours for whatever encloses it to answer."""

    def __init__(self, app: ASGIApp, *, hosts: Hosts, most_file_bytes: int, body_seconds: float = BODY_SECONDS) -> None:
        self._app, self._hosts = app, hosts
        self._most_file_bytes, self._body_seconds = most_file_bytes, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check the head, then pass the body through the counter."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        self._hosts.check(headers.getlist("host"))
        if not _opens_a_page(scope, headers):
            _check_origin(headers)
        _check_text(scope)
        encodings = {one.strip().lower() for one in headers.get("content-encoding", "").split(",")} - {"", "identity"}
        if encodings:
            message = "packed bodies are not taken; send it without Content-Encoding"
            raise InvalidRequest(message, code="unsupported_content_encoding")
        is_multipart = headers.get("content-type", "").strip().lower().startswith("multipart/form-data")
        is_multipart = is_multipart and scope["path"].startswith(_FILES)
        most = self._most_file_bytes + _AROUND_A_FILE if is_multipart else MOST_JSON_BYTES
        body = _Body(receive, most, self._body_seconds)
        length = headers.get("content-length", "0")
        if length.isascii() and length.isdecimal() and (len(length) > 18 or int(length) > most):
            raise await body.too_large()
        await self._app(scope, body.receive, send)


class Hosts:
    """The names by which the server may be asked for."""

    def __init__(self, listened: str, allowed: Iterable[str]) -> None:
        spelled = f"[{listened}]" if ":" in listened else listened
        self._names = {"localhost", *(_name_of(one) for one in (spelled, *allowed))}
        # Listening everywhere, it is asked for by any of the machine's addresses; an address cannot be rebound.
        self._is_everywhere = listened in ("0.0.0.0", "::", "")

    def check(self, found: list[str]) -> None:
        """Raise :class:`Forbidden` unless exactly one ``Host`` header names this server."""
        name = _name_of(found[0]) if len(found) == 1 else ""
        if name in self._names - {""} or name.endswith(".localhost"):
            return
        try:
            address = ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            address = None
        if address is not None and (address.is_loopback or self._is_everywhere):
            return
        raise Forbidden(
            f"this server is not asked for as {shown(name)!r}; use localhost or its address, or let whoever runs it "
            "add the name to allowed_hosts in the table [server] of openrft.toml",
            code="host_not_allowed",
        )


class _Body:
    """A request's body, counted as it comes."""

    def __init__(self, receive: Receive, most: int, seconds: float) -> None:
        self._receive, self._most, self._seconds = receive, most, seconds
        self._bytes = 0
        self._is_whole = False

    async def receive(self) -> Message:
        """The next message. Raises :class:`TooLarge`, or :class:`InvalidRequest` for a sender that stopped sending."""
        if self._is_whole:
            return await self._receive()  # waits for the sender to leave, for as long as the answer takes
        try:
            message = await asyncio.wait_for(self._receive(), self._seconds)
        except TimeoutError:
            self._is_whole = True
            raise InvalidRequest("the body stopped coming; send it again", code="request_timeout") from None
        if message["type"] == "http.request":
            self._bytes += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._bytes > self._most:
                raise await self.too_large()
        return message

    async def too_large(self) -> TooLarge:
        """Read on for a while: who is still sending does not read the answer, and would only see a broken pipe."""
        dropped = 0
        while not self._is_whole and dropped < _READ_AND_DROPPED:
            try:
                message = await asyncio.wait_for(self._receive(), self._seconds)
            except TimeoutError:
                break
            dropped += len(message.get("body", b""))
            self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return TooLarge(f"the request's body is larger than {self._most:,} bytes, the most that is taken here")


def _name_of(host: str) -> str:
    """The name in ``name:port`` or ``[address]:port``, in lower case and without a last dot."""
    host = host.strip().lower()
    if host.startswith("["):
        return host.partition("]")[0] + "]"
    return host.partition(":")[0].removesuffix(".") if host.count(":") < 2 else host


def _opens_a_page(scope: Scope, headers: Headers) -> bool:
    """Whether somebody follows a link of another site to a page of the dashboard, which holds nothing of anybody."""
    kind = (headers.get("sec-fetch-mode"), headers.get("sec-fetch-dest"))
    return scope["method"] == "GET" and kind == ("navigate", "document") and is_page(scope["path"])


def _check_origin(headers: Headers) -> None:
    """A browser says which page sends a request; programs say nothing."""
    origins = headers.getlist("origin")
    site = headers.get("sec-fetch-site", "none").lower()
    if not origins and site in ("none", "same-origin"):
        return
    try:
        is_own = len(origins) <= 1 and all(urlsplit(one).netloc.lower() == headers["host"].lower() for one in origins)
    except ValueError:
        is_own = False
    if not is_own or site not in ("none", "same-origin"):
        message = "requests from pages of other sites are not answered; use a program, or a page of this server"
        raise Forbidden(message, code="origin_not_allowed")


def _check_text(scope: Scope) -> None:
    """No database takes NUL, and no file: refused before anything looks at it."""
    if (
        "\0" in scope["path"]
        or b"\0" in scope["query_string"]
        or "\0" in unquote(scope["query_string"].decode("latin-1"))
    ):
        raise InvalidRequest("the address holds the character NUL", code="invalid_url")
