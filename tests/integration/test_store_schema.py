"""The migrations and the tables that the code speaks of are the same schema."""

import ast
import threading
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest
from alembic import command
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError

import migrations
from service.store import migrate
from service.store.engine import sqlalchemy_url
from service.store.partitions import create_statement
from service.store.tables import metadata

CATALOGUE = """
SELECT 'column', c.relname, a.attname, format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
    || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'S') AND a.attnum > 0 AND c.relname <> 'alembic_version'
UNION ALL
SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conrelid <> coalesce(to_regclass('alembic_version'), 0)
UNION ALL
SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'
"""


def schema(url: str) -> set[tuple[str, ...]]:
    with psycopg.connect(url) as connection:
        return set(connection.execute(CATALOGUE).fetchall())


def test_migrations_make_the_tables_that_the_code_expects(database_url: str, empty_database_url: str) -> None:
    engine = create_engine(sqlalchemy_url(empty_database_url))
    metadata.create_all(engine)
    engine.dispose()
    assert schema(database_url) == schema(empty_database_url)


def test_a_new_database_is_pending_until_it_is_upgraded(empty_database_url: str) -> None:
    assert migrate.pending(empty_database_url)
    migrate.upgrade(empty_database_url)
    assert not migrate.pending(empty_database_url)
    migrate.upgrade(empty_database_url)


def test_migrations_run_on_a_filled_database_and_leave_its_rows(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url, "0001")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "CREATE TABLE impressions_20261122 PARTITION OF impressions FOR VALUES FROM ('2026-11-22') TO ('2026-11-23')"
        )
        connection.execute("INSERT INTO requests (request_id, at) VALUES ('r1', '2026-11-22 12:00+00')")
        connection.execute(IMPRESSION)
    migrate.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT request_id FROM impressions JOIN requests USING (request_id)").fetchall() == [("r1",)]


def test_counts_of_hours_become_counts_of_every_windows_buckets(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url, "0005")
    hour = 490_560  # a bucket of each length begins with it
    with psycopg.connect(empty_database_url) as connection:
        for later, times in ((0, 2), (1, 3), (7, 4), (365, 5)):
            connection.execute("INSERT INTO hourly_counts VALUES ('clicks', %s, 'a', %s)", [hour + later, times])
        connection.execute("UPDATE hourly_counts_end SET feedback = 14")
    migrate.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        found = connection.execute("SELECT length, bucket, times FROM bucket_counts ORDER BY length, bucket").fetchall()
        assert connection.execute("SELECT feedback FROM bucket_counts_end").fetchall() == [(14,)]
    hours, sevens, halves = hour, hour // 7, hour // 365
    assert found == [
        *[(3_600, hours + later, times) for later, times in ((0, 2), (1, 3), (7, 4), (365, 5))],
        *[(25_200, sevens + later, times) for later, times in ((0, 5), (1, 4), (52, 5))],
        *[(1_314_000, halves + later, times) for later, times in ((0, 9), (1, 5))],
    ]


def test_a_day_is_not_vacuumed_for_its_growth(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(create_statement(date(2026, 11, 23)).encode())
        growth = connection.execute(UNVACUUMED, ["impressions_20261123"]).fetchall()
        connection.rollback()
    assert growth == [(["autovacuum_vacuum_insert_threshold=-1"],)] * 2


UNVACUUMED = """
SELECT t.reloptions FROM pg_class d JOIN pg_class t ON t.oid IN (d.oid, d.reltoastrelid) WHERE d.oid = %s::regclass
"""


def test_days_from_before_and_after_leave_the_same_columns_out_of_statistics(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url, "0003")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "CREATE TABLE impressions_20261122 PARTITION OF impressions FOR VALUES FROM ('2026-11-22') TO ('2026-11-23')"
        )
    migrate.upgrade(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(create_statement(date(2026, 11, 23)).encode())
        before, after = (
            {name for (name,) in connection.execute(SAMPLED, [f"impressions_{day}"])} for day in ("20261122", "20261123")
        )
    assert before == after == {"seq", "at", "request_id", "user_id", "version_id", "writer"}


SAMPLED = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND coalesce(attstattarget, -1) <> 0
"""
IMPRESSION = """
INSERT INTO impressions
SELECT seq, at, request_id, 'u', 1, 7, 3, true, '', '', '{}', '{}', '{a}', '', '0000', '0000',
    '{a}', '{.5}', '{1}', '{f}', '{}', NULL, 'w'
FROM requests
"""


def test_processes_that_start_together_may_all_migrate(empty_database_url: str) -> None:
    failures: list[BaseException] = []

    def upgrade() -> None:
        try:
            migrate.upgrade(empty_database_url)
        except BaseException as error:
            failures.append(error)

    # Alembic keeps its context in module globals, so threads of one process would disturb each other where processes do
    # not: one thread migrates, beside it a raw connection holds the lock that a second process would hold.
    with psycopg.connect(empty_database_url) as other:
        other.execute("SELECT pg_advisory_xact_lock(6582894, 6)")
        thread = threading.Thread(target=upgrade)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        assert other.execute("SELECT to_regclass('articles')").fetchone() == (None,)
    thread.join(10)
    assert failures == []
    assert not migrate.pending(empty_database_url)


def sources() -> Iterator[Path]:
    yield from Path(migrations.__file__).parent.rglob("*.py")


@pytest.mark.parametrize("path", [*sources()], ids=lambda path: path.name)
def test_migrations_import_nothing_of_ours(path: Path) -> None:
    """They must still run when the code has moved on."""
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert not {name.split(".")[0] for name in imported} & {"drn", "service", "jobs"}


def test_the_log_is_free_while_rules_wait_for_the_articles(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url, "0006")
    with psycopg.connect(empty_database_url) as publisher, psycopg.connect(empty_database_url) as server:
        publisher.execute("LOCK TABLE articles IN ROW EXCLUSIVE MODE")
        thread = threading.Thread(target=migrate.upgrade, args=[empty_database_url])
        thread.start()
        while (
            thread.is_alive()
            and not server.execute("SELECT FROM pg_locks WHERE NOT granted AND relation = 'articles'::regclass").fetchall()
        ):
            server.rollback()
        server.execute("SET LOCAL lock_timeout = '200ms'")
        server.execute("SELECT count(*) FROM impressions")
        server.rollback()
        publisher.rollback()
        thread.join()
    assert not migrate.pending(empty_database_url)


@pytest.mark.parametrize(("revision", "table"), [("0007", "impressions"), ("0006", "bucket_counts")])
def test_a_way_back_that_would_keep_others_waiting_gives_up(empty_database_url: str, revision: str, table: str) -> None:
    migrate.upgrade(empty_database_url, revision)
    with psycopg.connect(empty_database_url) as reader:
        reader.execute(f"SELECT count(*) FROM {table}".encode())
        started = time.monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            command.downgrade(migrate.configuration(empty_database_url), "-1")
        assert time.monotonic() - started < 10  # a migration's own limit is 30 s
