"""Who is asking, and may they? Every route has this check by default; a route names what more it needs.

    @router.get("")
    def list_files(caller: Reader, platform: Platforms) -> …      any key
    def create_file(caller: Writer, …)                            a key that may write
    def create_project(caller: Admin, …)                          a key that may do everything

``caller.project_id`` goes into every call of the store: what belongs to another project is not found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request

from openrft.api.platform import Platform, Platforms
from openrft.errors import Unauthorized
from openrft.store.rows import ApiKey, Scope

__all__ = [
    "HEADER",
    "Admin",
    "Caller",
    "Platforms",
    "Reader",
    "Writer",
    "admins",
    "check_key",
    "cookie_name",
    "known",
    "reads",
    "writes",
]

HEADER = "x-openrft"
"""What a browser's page sends beside the cookie when it changes something."""

_LONGEST_KEY = 500  # characters; ours have 54
_HARMLESS = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """A request's key, and with it the one project that the request sees."""

    key: ApiKey

    @property
    def project_id(self) -> str:
        """The project that everything asked for belongs to."""
        return self.key.project_id


def known(request: Request, platform: Platforms) -> Caller:
    """The caller.

    Raises :class:`Unauthorized` without a key, or with one that opens nothing, and
    :class:`~openrft.errors.TooManyRequests` for a key that is used too much.
    """
    plain = _key_of(request) or _cookie_of(request, platform)
    if plain is None:
        raise Unauthorized(
            "You didn't provide an API key. Send it in an Authorization header using Bearer auth "
            "(Authorization: Bearer YOUR_KEY)"
        )
    caller = check_key(platform, plain)
    request.app.state.rates.spend(caller.key.id)
    request.state.caller = caller
    return caller


def check_key(platform: Platform, plain: str) -> Caller:
    """The caller that the key ``plain`` belongs to. Raises :class:`Unauthorized` for one that opens nothing."""
    if len(plain) > _LONGEST_KEY:
        raise Unauthorized("the API key is not valid: check it, or make a new one")
    return Caller(key=platform.store.projects.authenticate(plain))


def cookie_name(platform: Platform) -> str:
    """The cookie with a browser's key. Cookies do not tell ports apart, so the name does."""
    return f"openrft_{urlsplit(platform.address).port or 80}"


def _needs(scope: Scope) -> Callable[[Caller], Caller]:
    def check(caller: Annotated[Caller, Depends(known)]) -> Caller:
        if not caller.key.allows(scope):
            raise Unauthorized(
                "You have insufficient permissions for this operation: the key's scope is "
                f"{caller.key.scope!r}, and this needs {scope!r}; ask for another key",
                is_known=True,
            )
        return caller

    return check


reads = _needs("read")
writes = _needs("write")
admins = _needs("admin")

Reader = Annotated[Caller, Depends(reads)]
"""A route's argument ``caller: Reader``: any key of a project."""
Writer = Annotated[Caller, Depends(writes)]
"""A route's argument ``caller: Writer``: a key that may create, change and delete, and let models answer."""
Admin = Annotated[Caller, Depends(admins)]
"""A route's argument ``caller: Admin``: a key that may also make projects and keys, and grant models to projects."""


def _cookie_of(request: Request, platform: Platform) -> str | None:
    """The key of a browser that has logged in (:mod:`openrft.api.session`)."""
    plain = request.cookies.get(cookie_name(platform))
    if plain and request.method not in _HARMLESS and HEADER not in request.headers:
        raise Unauthorized(f"a page that changes something with a cookie has to send the header {HEADER}: 1")
    return plain or None


def _key_of(request: Request) -> str | None:
    """The key of the request: OpenAI's bearer, else Azure's header."""
    scheme, _, plain = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer" and plain.strip():
        return plain.strip()
    return request.headers.get("api-key", "").strip() or None
