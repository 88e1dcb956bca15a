"""From nothing to the newest tables, on both databases."""

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from openrft.errors import StoreError
from openrft.store import open_store
from openrft.store.database import Database
from openrft.store.migrate import alembic_config, migrate
from openrft.store.schema import HEAD, metadata


@pytest.fixture
def database(url):
    opened = Database(url)
    yield opened
    opened.close()


def table_names(database):
    return set(database.read(lambda connection: inspect(connection).get_table_names()))


def test_an_empty_database_gets_all_tables(database):
    assert table_names(database) == set()
    migrate(database)
    assert table_names(database) == {*metadata.tables, "alembic_version"}
    migrate(database)


def test_the_revisions_end_in_the_tables_of_the_schema(database):
    migrate(database)

    def check(connection):
        config = alembic_config(connection)
        assert ScriptDirectory.from_config(config).get_current_head() == HEAD
        command.check(config)  # raises when it finds a difference
        options = {"compare_type": True, "compare_server_default": True}
        return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)

    assert database.read(check) == []


def test_checks_of_the_schema_are_in_the_tables_too(database):
    """Alembic does not compare them."""
    migrate(database)

    def names(connection):
        return {
            check["name"] for table in metadata.tables for check in inspect(connection).get_check_constraints(table)
        }

    ours = {check.name for table in metadata.tables.values() for check in table.constraints}
    assert database.read(names) == {name for name in ours if name is not None and name.startswith("ck_")}


def test_a_migration_that_is_interrupted_leaves_nothing(database):
    class Interrupted(BaseException):
        pass

    def work(connection):
        command.upgrade(alembic_config(connection), "head")
        raise Interrupted

    with pytest.raises(Interrupted):
        database.write(work)
    assert table_names(database) == set()
    migrate(database)
    assert "jobs" in table_names(database)


def test_a_database_of_a_newer_version_is_refused(database, url, tmp_path):
    migrate(database)
    newer = text("UPDATE alembic_version SET version_num = '9999'")
    database.write(lambda connection: connection.execute(newer))
    with pytest.raises(StoreError, match="newer openrft; upgrade openrft") as caught:
        open_store(url, artifacts=tmp_path)
    assert caught.value.code == "store_newer"


def test_jobs_of_an_older_database_stay_and_nobody_knows_who_created_them(database, url, tmp_path):
    columns = "project_id, created_at, model, training_file, seed, spec, status, result_files, epoch, attempts"
    counts = "crash_count, lost_count, last_sequence, cancel_requested, pause_requested"
    values = "'p', 1, 'm', 'f', 1, '{}', 'queued', '[]', 0, 0, 0, 0, 0, false, false"

    def work(connection):
        command.upgrade(alembic_config(connection), "0001")
        connection.execute(text("INSERT INTO projects (id, name, created_at) VALUES ('p', 'old', 1)"))
        connection.execute(text(f"INSERT INTO jobs (id, {columns}, {counts}) VALUES ('ftjob-old', {values})"))

    database.write(work)
    with open_store(url, artifacts=tmp_path) as store:
        assert store.jobs.get("p", "ftjob-old").created_by is None
