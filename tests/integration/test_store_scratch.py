"""A database for one purpose is gone when its purpose is, even if its user was killed."""

import time

import psycopg
from sqlalchemy.engine import make_url

from service.store.scratch import YOUNG, scratch_database


def names(server_url: str) -> set[str]:
    with psycopg.connect(server_url) as connection:
        return {name for (name,) in connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'drn_scratch%'")}


def make(server_url: str, name: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return make_url(server_url).set(database=name).render_as_string(hide_password=False)


async def test_what_a_killed_user_left_is_dropped_by_the_next(server_url: str) -> None:
    old = int(time.time()) - YOUNG - 10
    abandoned, in_use, young = f"drn_scratch_{old}_a", f"drn_scratch_{old}_b", f"drn_scratch_{old + 3_600}_c"
    make(server_url, abandoned)
    make(server_url, young)
    with psycopg.connect(make(server_url, in_use)):
        async with scratch_database(server_url) as url:
            own = make_url(url).database
            assert names(server_url) == {own, in_use, young}
            with psycopg.connect(server_url) as connection:
                users = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", [own]).fetchone()
            assert users == (1,)  # by which others see that it is not abandoned
        assert names(server_url) == {in_use, young}
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in (in_use, young):
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
