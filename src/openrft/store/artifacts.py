"""Bytes: uploaded files, rollouts, checkpoints. A local folder by default, any store that fsspec knows by URL.

An artifact appears whole or not at all: it is written beside its place, synced, hashed on the way, and renamed. Its key
is a path of checked words, so that nothing that a user named can ever point elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast

from openrft.errors import InvalidRequest, NotFound, OpenRFTError, StoreError

_WORD = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_KEY = re.compile(rf"{_WORD}(/{_WORD}){{0,7}}")
_PIECE = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """What was written: its key, size and SHA-256."""

    key: str
    bytes: int
    sha256: str


class Artifacts(Protocol):
    """Where bytes are kept."""

    def write(self, key: str, pieces: Iterable[bytes], *, most_bytes: int | None = None) -> Artifact:
        """Keep ``pieces`` under ``key``, in place of what was there.

        Raises :class:`InvalidRequest` when there are more than ``most_bytes``, :class:`StoreError` when the disk is
        full; either way what was there stays.
        """
        ...

    def write_file(self, key: str, path: Path) -> Artifact:
        """Keep the file ``path``, which nobody changes any more, under ``key``; see :meth:`write`."""
        ...

    def fetch(self, key: str, path: Path) -> None:
        """Make the new file ``path`` with its bytes, not to be changed. Raises :class:`NotFound`."""
        ...

    def open(self, key: str) -> BinaryIO:
        """Read it from its beginning. Raises :class:`NotFound`."""
        ...

    def delete(self, key: str) -> None:
        """Remove it, or everything below it. What is not there is fine."""
        ...

    def list(self, key: str) -> Sequence[str]:
        """The keys of everything below ``key``, sorted."""
        ...

    def bytes_below(self, key: str) -> int:
        """How many bytes everything below ``key`` has."""
        ...


def open_artifacts(place: str | Path) -> Artifacts:
    """Artifacts in a local folder (a path or ``file://``), or in what a URL such as ``s3://bucket/folder`` names."""
    text = str(place)
    scheme, separator, rest = text.partition("://")
    if not separator:
        return FolderArtifacts(Path(place))
    return FolderArtifacts(Path(rest)) if scheme == "file" else ObjectArtifacts(text)


def step_artifact(job_id: str, step: int, epoch: int) -> str:
    """Where an attempt keeps the rollouts of a step: attempts do not overwrite one another's."""
    return checked(f"jobs/{job_id}/rollouts/step-{step:06d}-e{epoch}.jsonl")


def checked(key: str) -> str:
    """``key`` if it is one: words of letters, digits, ``.``, ``_`` and ``-`` that begin with a letter or digit."""
    if not _KEY.fullmatch(key):
        raise InvalidRequest(f"{key[:200]!r} cannot be the key of an artifact", param="key")
    return key


class FolderArtifacts:
    """Artifacts in a local folder."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._partial = self.root / ".partial"  # no key begins with a dot
        with _explained(str(self.root)):
            self._partial.mkdir(parents=True, exist_ok=True, mode=0o700)

    def write(self, key: str, pieces: Iterable[bytes], *, most_bytes: int | None = None) -> Artifact:
        """See :class:`Artifacts`."""
        path = self.root / checked(key)
        partial = self._partial / secrets.token_hex(16)
        with _explained(key):
            try:
                with partial.open("xb") as file:
                    size, sha256 = _copy(pieces, file.write, most_bytes)
                    file.flush()
                    os.fsync(file.fileno())
                self._make_folder(path.parent)
                os.replace(partial, path)
                _sync_folder(path.parent)
            except BaseException:
                with contextlib.suppress(OSError):
                    partial.unlink()
                raise
        return Artifact(key=key, bytes=size, sha256=sha256)

    def write_file(self, key: str, path: Path) -> Artifact:
        """See :class:`Artifacts`. On one file system no byte is copied: both names mean the same file."""
        place = self.root / checked(key)
        partial = self._partial / secrets.token_hex(16)
        try:
            with _explained(key):
                os.link(path, partial)
        except StoreError as error:
            if error.code == "store_full":
                raise
            with path.open("rb") as file:  # another file system, or one without such links
                return self.write(key, read_pieces(file))
        try:
            with _explained(key), partial.open("rb") as file:
                size, sha256 = _copy(read_pieces(file), lambda piece: None, None)
                os.fsync(file.fileno())
                self._make_folder(place.parent)
                os.replace(partial, place)
                _sync_folder(place.parent)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink()  # still there after an error, and where both were the same file already
        return Artifact(key=key, bytes=size, sha256=sha256)

    def fetch(self, key: str, path: Path) -> None:
        """See :class:`Artifacts`. On one file system no byte is copied."""
        place = self.root / checked(key)
        try:
            os.link(place, path)
        except OSError:
            _download(self, key, path)

    def open(self, key: str) -> BinaryIO:
        """See :class:`Artifacts`."""
        try:
            return (self.root / checked(key)).open("rb")
        except (FileNotFoundError, IsADirectoryError):
            raise NotFound(f"the bytes of {key} are not there", param="key") from None

    def delete(self, key: str) -> None:
        """See :class:`Artifacts`."""
        path = self.root / checked(key)
        with _explained(key):
            if path.is_dir():
                doomed = self._partial / secrets.token_hex(16)  # first away as a whole, then piece by piece
                os.replace(path, doomed)
                shutil.rmtree(doomed)
            else:
                path.unlink(missing_ok=True)

    def list(self, key: str) -> Sequence[str]:
        """See :class:`Artifacts`."""
        below = (self.root / checked(key)).rglob("*")
        return sorted(path.relative_to(self.root).as_posix() for path in below if path.is_file())

    def bytes_below(self, key: str) -> int:
        """See :class:`Artifacts`."""
        size = 0
        for path in (self.root / checked(key)).rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # somebody deletes it meanwhile
                size += path.stat().st_size if path.is_file() else 0
        return size

    def sweep(self, *, older_than: float = 0.0) -> int:
        """Remove what killed processes left half written; ``older_than`` seconds, where somebody may be writing."""
        latest = time.time() - older_than
        left = [path for path in self._partial.iterdir() if path.lstat().st_mtime <= latest]
        for path in left:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        return len(left)

    def _make_folder(self, folder: Path) -> None:
        missing = [one for one in (folder, *folder.parents) if not one.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for one in missing:
            _sync_folder(one.parent)


class ObjectArtifacts:
    """Artifacts in an object store, through fsspec. Such stores show an object when it is whole."""

    def __init__(self, url: str) -> None:
        import fsspec  # heavy, and only for those who use it

        try:
            filesystem, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InvalidRequest(f"artifacts cannot be kept there: {error}", param="artifacts") from None
        self._files: Any = filesystem

    def write(self, key: str, pieces: Iterable[bytes], *, most_bytes: int | None = None) -> Artifact:
        """See :class:`Artifacts`."""
        path = f"{self._root}/{checked(key)}"
        # Whole on this machine's disk first: an upload that breaks off, or grows too large, is then never sent.
        with _reached(key), tempfile.NamedTemporaryFile(prefix="openrft-") as spool:
            size, sha256 = _copy(pieces, spool.write, most_bytes)
            spool.flush()
            self._files.makedirs(path.rpartition("/")[0], exist_ok=True)
            self._files.put_file(spool.name, path)
        return Artifact(key=key, bytes=size, sha256=sha256)

    def write_file(self, key: str, path: Path) -> Artifact:
        """See :class:`Artifacts`."""
        with path.open("rb") as file:
            size, sha256 = _copy(read_pieces(file), lambda piece: None, None)
        place = f"{self._root}/{checked(key)}"
        with _reached(key):
            self._files.makedirs(place.rpartition("/")[0], exist_ok=True)
            self._files.put_file(str(path), place)
        return Artifact(key=key, bytes=size, sha256=sha256)

    def fetch(self, key: str, path: Path) -> None:
        """See :class:`Artifacts`."""
        _download(self, key, path)

    def open(self, key: str) -> BinaryIO:
        """See :class:`Artifacts`."""
        with _reached(key):
            return cast(BinaryIO, self._files.open(f"{self._root}/{checked(key)}", "rb"))

    def delete(self, key: str) -> None:
        """See :class:`Artifacts`."""
        with _reached(key), contextlib.suppress(FileNotFoundError):
            self._files.rm(f"{self._root}/{checked(key)}", recursive=True)

    def list(self, key: str) -> Sequence[str]:
        """See :class:`Artifacts`."""
        with _reached(key):
            # Without what fsspec remembers of earlier listings: other machines write here too.
            self._files.invalidate_cache()
            below = self._files.find(f"{self._root}/{checked(key)}")
        root = self._root.strip("/")
        return sorted(path.strip("/").removeprefix(root).strip("/") for path in below)

    def bytes_below(self, key: str) -> int:
        """See :class:`Artifacts`."""
        with _reached(key):
            self._files.invalidate_cache()
            below = self._files.find(f"{self._root}/{checked(key)}", detail=True)
        return sum(facts["size"] or 0 for facts in below.values())


def _download(artifacts: Artifacts, key: str, path: Path) -> None:
    partial = path.with_name(f".partial-{path.name}")
    with artifacts.open(key) as source, partial.open("wb") as target:
        while piece := _read_piece(source, key):
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    partial.replace(path)


def _read_piece(source: BinaryIO, key: str) -> bytes:
    with _reached(key):
        return source.read(_PIECE)


def read_pieces(file: BinaryIO) -> Iterator[bytes]:
    """The rest of ``file`` in pieces that fit in memory."""
    while piece := file.read(_PIECE):
        yield piece


def _copy(pieces: Iterable[bytes], write: Callable[[bytes], object], most_bytes: int | None) -> tuple[int, str]:
    size, sha256 = 0, hashlib.sha256()
    for piece in pieces:
        size += len(piece)
        if most_bytes is not None and size > most_bytes:
            raise InvalidRequest(f"the file is larger than {most_bytes} bytes, the most that is taken", param="file")
        sha256.update(piece)
        write(piece)
    return size, sha256.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            advice = "the disk is full; free some space, then go on: nothing of it was kept"
            raise StoreError(f"{what}: {advice} ({error.strerror})", code="store_full") from error
        said = error.strerror or error
        raise StoreError(f"{what}: cannot be written or removed ({said})", code="store_unreachable") from error


@contextmanager
def _reached(what: str) -> Iterator[None]:
    """The errors of an object store, of which each kind has its own, as ours."""
    try:
        with _explained(what):
            try:
                yield
            except FileNotFoundError as error:
                raise NotFound(f"the bytes of {what} are not there", param="key") from error
    except OpenRFTError:
        raise
    except Exception as error:
        said = str(error).strip().partition("\n")[0][:300]
        raise StoreError(
            f"{what}: the object store did not answer ({type(error).__name__}: {said})", code="store_unreachable"
        ) from error
