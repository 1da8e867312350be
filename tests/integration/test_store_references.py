"""Feedback never speaks of a list that is not there: what triggers see to, as a foreign key would."""

import threading
import time
from collections.abc import Iterator

import psycopg
import pytest
from alembic import command
from psycopg.errors import FeatureNotSupported, ForeignKeyViolation

from service.store import migrate

LIST = "INSERT INTO requests (request_id, at) VALUES (%s, now())"
EVENT = """
INSERT INTO feedback (event_id, request_id, article_id, type, at, received_at, writer)
VALUES (%s, %s, 'a', 'click', now(), now(), 'w')
"""


@pytest.fixture
def one(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection to a log of two lists, r1 and r2."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(LIST, ["r1"])
        connection.execute(LIST, ["r2"])
        yield connection


@pytest.fixture
def other(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def linked(connection: psycopg.Connection) -> dict[str, str | None]:
    return dict(connection.execute("SELECT event_id, request_id FROM feedback").fetchall())


def waits(connection: psycopg.Connection, of: psycopg.Connection) -> bool:
    """Whether `of` comes to wait for a lock."""
    query = "SELECT wait_event_type FROM pg_stat_activity WHERE pid = %s"
    deadline = time.monotonic() + 5
    while connection.execute(query, [of.info.backend_pid]).fetchone() != ("Lock",):
        if time.monotonic() > deadline:
            return False
        connection.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)")
    return True


def test_an_event_on_a_list_that_is_not_there_is_refused(one: psycopg.Connection) -> None:
    with pytest.raises(ForeignKeyViolation, match="there is no request 'r''3'"):
        one.execute(EVENT, ["e1", "r'3"])
    with pytest.raises(ForeignKeyViolation):
        one.execute(EVENT.replace("VALUES", "VALUES ('e0', 'r1', 'a', 'click', now(), now(), 'w'),"), ["e1", "r3"])
    assert linked(one) == {}
    one.execute(EVENT, ["e1", "r1"])
    one.execute(EVENT, ["e2", None])
    with pytest.raises(ForeignKeyViolation):
        one.execute("UPDATE feedback SET request_id = 'r3' WHERE event_id = 'e2'")
    one.execute("UPDATE feedback SET request_id = 'r2', value = 1 WHERE event_id = 'e2'")
    assert linked(one) == {"e1": "r1", "e2": "r2"}


def test_events_outlive_their_lists(one: psycopg.Connection) -> None:
    for event_id, request_id in (("e1", "r1"), ("e2", "r2"), ("e3", "r1")):
        one.execute(EVENT, [event_id, request_id])
    one.execute("DELETE FROM requests WHERE request_id = 'r1'")
    assert linked(one) == {"e1": None, "e2": "r2", "e3": None}
    one.execute("TRUNCATE requests")
    assert linked(one) == {"e1": None, "e2": None, "e3": None}


def test_a_list_keeps_its_id(one: psycopg.Connection) -> None:
    with pytest.raises(ForeignKeyViolation):
        one.execute("UPDATE requests SET request_id = 'r3' WHERE request_id = 'r1'")
    one.execute("UPDATE requests SET request_id = request_id, at = now()")


def test_whoever_deletes_a_list_waits_for_feedback_on_it(one: psycopg.Connection, other: psycopg.Connection) -> None:
    deleting = threading.Thread(target=other.execute, args=["DELETE FROM requests WHERE request_id = 'r1'"])
    with one.transaction():
        one.execute(EVENT, ["e1", "r1"])
        deleting.start()
        assert waits(one, other)
    deleting.join()
    assert linked(one) == {"e1": None}


def test_feedback_waits_for_a_deletion_and_is_refused(one: psycopg.Connection, other: psycopg.Connection) -> None:
    refused: list[BaseException] = []

    def insert() -> None:
        try:
            other.execute(EVENT, ["e1", "r1"])
        except ForeignKeyViolation as error:
            refused.append(error)

    inserting = threading.Thread(target=insert)
    with one.transaction():
        one.execute("DELETE FROM requests WHERE request_id = 'r1'")
        inserting.start()
        assert waits(one, other)
    inserting.join()
    assert (len(refused), linked(one)) == (1, {})


def test_lists_are_not_deleted_under_an_old_snapshot(one: psycopg.Connection) -> None:
    one.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    with pytest.raises(FeatureNotSupported), one.transaction():
        one.execute("DELETE FROM requests WHERE request_id = 'r1'")


def test_the_foreign_key_can_be_had_back(empty_database_url: str) -> None:
    migrate.upgrade(empty_database_url)
    command.downgrade(migrate.configuration(empty_database_url), "0004")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(LIST, ["r1"])
        connection.execute(EVENT, ["e1", "r1"])
        with pytest.raises(ForeignKeyViolation, match="feedback_request_id_fkey"):
            connection.execute(EVENT, ["e2", "r2"])
        connection.execute("DELETE FROM requests")
        assert linked(connection) == {"e1": None}
    migrate.upgrade(empty_database_url)
    assert not migrate.pending(empty_database_url)
