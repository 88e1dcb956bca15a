"""The dashboard's files as they are served: read once, packed once, under a path that changes with their content."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

STATIC = Path(__file__).with_name("static")

_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}
_LIBRARIES: Final = {
    "preact": "preact.js",
    "preact/hooks": "hooks.js",
    "htm": "htm.js",
    "@preact/signals-core": "signals-core.js",
    "@preact/signals": "signals.js",
    "uplot": "uplot.js",
    "codemirror": "codemirror.js",
}
"""What modules import by name, and the file in ``vendor/`` that it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Asset:
    """One file."""

    body: bytes
    packed: bytes
    """The body, gzipped."""
    media_type: str


class Assets:
    """All files of the dashboard.

    ``version`` is a digest of all of them and a part of every path, so that browsers may keep them for ever and yet
    never mix files of two releases.
    """

    def __init__(self, static: Path = STATIC) -> None:
        paths = sorted(path for path in static.rglob("*") if path.suffix in _TYPES)
        bodies = {path.relative_to(static).as_posix(): path.read_bytes() for path in paths}
        template = (static / "index.html").read_text(encoding="utf-8")
        digest = hashlib.sha256(template.encode())
        for name, body in bodies.items():
            digest.update(f"\n{name} {len(body)}\n".encode() + body)
        self.version = digest.hexdigest()[:16]
        self._assets = {
            name: Asset(body=body, packed=gzip.compress(body, 9, mtime=0), media_type=_TYPES[Path(name).suffix])
            for name, body in bodies.items()
        }
        root = f"/assets/{self.version}"
        imports = json.dumps({"imports": {name: f"{root}/vendor/{file}" for name, file in _LIBRARIES.items()}})
        self.page = template.replace("{{root}}", root).replace("{{import_map}}", imports).encode()
        """The one HTML page; it begins with the address what to show."""
        self.policy = _policy(imports)
        """Its Content-Security-Policy."""

    def get(self, name: str) -> Asset | None:
        """The file ``name``, as in ``pages/jobs.js``; None where there is none."""
        return self._assets.get(name)

    def names(self) -> list[str]:
        """All files' names."""
        return list(self._assets)


def _policy(import_map: str) -> str:
    """Nothing but our own files runs, nothing is sent elsewhere, and nobody frames the page.

    The import map is the only script inside the page, let in by its hash.
    """
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    return (
        f"default-src 'none'; script-src 'self' 'sha256-{digest}'; style-src 'self'; img-src 'self' data: blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
