"""Files that people upload and jobs make: a row here, the bytes in the artifacts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from sqlalchemy import ColumnElement, Connection, insert, select, update

from openrft.errors import InvalidRequest, NotFound, OpenRFTError
from openrft.store.artifacts import Artifacts
from openrft.store.database import Database
from openrft.store.ids import new_id
from openrft.store.paging import Order, bounded, page_of, position_of
from openrft.store.plain import check_text, clean_text
from openrft.store.projects import require_project
from openrft.store.rows import FileStatus, Page, StoredFile, without
from openrft.store.schema import files

_AT_ONCE = 1_000  # artifacts that one sweep removes

_COLUMNS = (
    "id",
    "project_id",
    "filename",
    "purpose",
    "bytes",
    "sha256",
    "artifact",
    "status",
    "status_details",
    "created_at",
    "expires_at",
)


class Files:
    """The files of every project."""

    def __init__(self, database: Database, artifacts: Artifacts) -> None:
        self._database = database
        self._artifacts = artifacts

    def create(
        self,
        project_id: str,
        pieces: Iterable[bytes],
        *,
        filename: str,
        purpose: str,
        status: FileStatus = "processed",
        expires_after: int | None = None,
        most_bytes: int | None = None,
        file_id: str | None = None,
    ) -> StoredFile:
        """Keep an upload: first its bytes, then its row, so that a file which can be seen can be read.

        With a ``file_id`` of the caller's making, once and again are the same: the file that is there is returned.
        """
        check_text(filename, "filename", longest=1_000)
        check_text(purpose, "purpose", longest=64)
        self._database.read(lambda connection: require_project(connection, project_id))
        if file_id is not None:
            with contextlib.suppress(NotFound):
                return self.get(project_id, file_id)
        file_id = file_id or new_id("file")
        artifact = self._artifacts.write(f"files/{file_id}", pieces, most_bytes=most_bytes)
        now = self._database.now()
        file = StoredFile(
            id=file_id,
            project_id=project_id,
            filename=filename,
            purpose=purpose,
            bytes=artifact.bytes,
            sha256=artifact.sha256,
            artifact=artifact.key,
            status=status,
            status_details=None,
            created_at=now,
            expires_at=None if expires_after is None else now + expires_after,
        )
        values = {column: getattr(file, column) for column in _COLUMNS}
        try:
            self._database.write(lambda connection: connection.execute(insert(files).values(values)))
        except OpenRFTError as error:
            if error.code != "store_lost":  # then the row may be there, and its bytes are to be there too
                with contextlib.suppress(OpenRFTError):
                    self._artifacts.delete(artifact.key)
            raise
        return file

    def get(self, project_id: str, file_id: str) -> StoredFile:
        """Raises :class:`NotFound`, also for a file that was deleted or has expired."""
        return self._database.read(lambda connection: self._find(connection, project_id, file_id))

    def find(self, project_id: str, file_ids: Sequence[str]) -> Sequence[StoredFile]:
        """Those of ``file_ids`` that are there."""

        def work(connection: Connection) -> list[StoredFile]:
            query = select(files).where(files.c.project_id == project_id, files.c.id.in_(file_ids), self._is_there())
            return [_file(row) for row in connection.execute(query)]

        return self._database.read(work)

    def open(self, project_id: str, file_id: str) -> BinaryIO:
        """The file's bytes. Raises :class:`NotFound`."""
        return self._artifacts.open(self.get(project_id, file_id).artifact)

    def list(
        self,
        project_id: str,
        *,
        purpose: str | None = None,
        after: str | None = None,
        limit: int = 10_000,
        order: Order = "desc",
    ) -> Page[StoredFile]:
        """A page of files, newest first unless ``order`` is ``asc``."""

        def work(connection: Connection) -> Page[StoredFile]:
            start = position_of(connection, files, after, files.c.project_id == project_id)
            query = select(files).where(files.c.project_id == project_id, self._is_there())
            if purpose is not None:
                query = query.where(files.c.purpose == purpose)
            rows = page_of(connection, query, files.c.position, after=start, limit=limit, order=order)
            return without([_file(row) for row in rows], bounded(limit))

        return self._database.read(work)

    def set_status(self, project_id: str, file_id: str, status: FileStatus, details: str | None = None) -> StoredFile:
        """What reading the file showed. Raises :class:`NotFound`."""
        if status not in ("uploaded", "processed", "error"):
            raise InvalidRequest(f"a file cannot be {status!r}", param="status")

        def work(connection: Connection) -> StoredFile:
            self._find(connection, project_id, file_id)
            values = {"status": status, "status_details": None if details is None else clean_text(details)}
            connection.execute(update(files).where(files.c.id == file_id).values(values))
            return self._find(connection, project_id, file_id)

        return self._database.write(work)

    def delete(self, project_id: str, file_id: str) -> None:
        """Forget the file: first its row and name, then its bytes. Raises :class:`NotFound`."""

        def work(connection: Connection) -> str:
            file = self._find(connection, project_id, file_id)
            self._bury(connection, files.c.id == file_id)
            return file.artifact

        self._artifacts.delete(self._database.write(work))

    def delete_expired(self) -> int:
        """Forget all files whose time is over, and bytes that an interrupted deletion left; how many files.

        Meant to be called every now and then; one call removes the bytes of a thousand at most.
        """
        now = self._database.now()

        def work(connection: Connection) -> tuple[list[str], int]:
            is_over = files.c.deleted_at.is_(None) & (files.c.expires_at <= now)
            count = len(connection.execute(select(files.c.id).where(is_over).with_for_update()).all())
            self._bury(connection, is_over)
            left = (
                select(files.c.artifact).where(files.c.deleted_at.is_not(None), files.c.artifact != "").limit(_AT_ONCE)
            )
            return list(connection.execute(left).scalars()), count

        doomed, count = self._database.write(work)
        for key in doomed:
            self._artifacts.delete(key)
        if doomed:
            done = update(files).where(files.c.artifact.in_(doomed), files.c.deleted_at.is_not(None))
            self._database.write(lambda connection: connection.execute(done.values(artifact="")))
        return count

    def _find(self, connection: Connection, project_id: str, file_id: str) -> StoredFile:
        query = select(files).where(files.c.project_id == project_id, files.c.id == file_id, self._is_there())
        row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound(f"No such File object: {file_id[:80]}", param="id")
        return _file(row)

    def _is_there(self) -> ColumnElement[bool]:
        expires = files.c.expires_at
        return files.c.deleted_at.is_(None) & (expires.is_(None) | (expires > self._database.now()))

    def _bury(self, connection: Connection, which: ColumnElement[bool]) -> None:
        gone = {"deleted_at": self._database.now(), "filename": "", "status_details": None}
        connection.execute(update(files).where(which).values(gone))


def _file(row: Any) -> StoredFile:
    return StoredFile(**{column: row._mapping[column] for column in _COLUMNS})
