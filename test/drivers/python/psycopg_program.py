"""psycopg 3 as an application uses it: a pool of connections in threads, all settings as they come."""

import hashlib
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from uuid import UUID

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from report import CLIENTS, describe, report

# A statement is prepared when it runs for the sixth time.
ROUNDS = 9


def failure(connection, query, parameters=None):
    try:
        with connection.transaction():
            return connection.execute(query, parameters).fetchall()
    except psycopg.Error as error:
        return describe(error)


def types(connection):
    values = (
        "text with ' and ü 🦑", -42, 2**62, Decimal("123456789.000000001"), 1e-7, True,
        datetime(2026, 2, 3, 4, 5, 6, 789, timezone.utc), date(2026, 2, 3), bytes(range(256)),
        Jsonb({"key": ["value", None, 1.5]}), [1, 2, None], ["a", 'b,"c"'],
        UUID("0b4a6d6e-7f4b-4a53-9d7b-6a2a54a4a000"), timedelta(days=1, seconds=2), None,
    )
    query = "select " + ", ".join(["%s"] * len(values))
    for _ in range(ROUNDS):
        report("types", connection.execute(query, values).fetchone())
        with connection.cursor(binary=True, row_factory=dict_row) as cursor:
            report("binary", cursor.execute("select %b::int as a, %b::text as b", (5, "b")).fetchall())
    connection.commit()
    large = "x" * 1_000_000
    report("large", connection.execute("select length(%s)", (large,)).fetchone())
    report("several", connection.execute("select 1; select 2").nextset())
    connection.commit()


def transactions(connection):
    insert = "insert into psycopg_orders (customer) values (%s) returning id"
    with connection.transaction():
        report("inserted", connection.execute(insert, ("one",)).fetchone())
        report("duplicate", failure(connection, insert, ("one",)))
        with connection.transaction() as inner:
            connection.execute(insert, ("lost",))
            raise psycopg.Rollback(inner)
        report("inserted", connection.execute(insert, ("two",)).fetchone())
    connection.execute(insert, ("never",))
    connection.rollback()
    connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
    connection.read_only = True
    report("read only", failure(connection, insert, ("refused",)))
    connection.isolation_level = None
    connection.read_only = None
    connection.commit()
    report("orders", connection.execute("select customer from psycopg_orders order by id").fetchall())
    connection.commit()


def errors(connection):
    for n in range(ROUNDS):
        report("no table", failure(connection, "select * from psycopg_nowhere where id = %s", (n,)))
        report("bad text", failure(connection, "select %s::text::int", ("x",)))
        report("division", failure(connection, "select 1 / %s::int", (0,)))
        report("after", failure(connection, "select %s::int", (n,)))
    connection.autocommit = True
    for n in range(ROUNDS):
        report("division", failure(connection, "select 2 / %s::int", (0,)))
        report("after", connection.execute("select %s::int + 1", (n,)).fetchone())
    connection.autocommit = False


def pipelines(connection):
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("select %s::int * 2", (n,)) for n in range(60)]
        pipeline.sync()
        report("pipeline", [cursor.fetchone()[0] for cursor in cursors])
    connection.commit()
    try:
        with connection.pipeline():
            for n in range(20):
                connection.execute("select 1 / (%s::int - 10)", (n,))
    except psycopg.Error as error:
        report("pipeline failed", describe(error))
    connection.rollback()
    with connection.cursor() as cursor:
        rows = [(f"batch {n}",) for n in range(500)]
        cursor.executemany("insert into psycopg_orders (customer) values (%s)", rows)
        report("batch", cursor.rowcount)
    connection.commit()


def copies(connection):
    with connection.cursor() as cursor:
        with cursor.copy("copy psycopg_orders (customer) from stdin") as copy:
            for n in range(20_000):
                copy.write_row((f"copied {n}",))
        hashed = hashlib.sha256()
        with cursor.copy("copy (select * from psycopg_orders order by customer) to stdout") as copy:
            for chunk in copy:
                hashed.update(chunk)
        report("copied", cursor.rowcount)
    connection.commit()
    try:
        with connection.cursor().copy("copy psycopg_orders (id, customer) from stdin") as copy:
            copy.write(b"not a number\tx\n" * 1000)
    except psycopg.Error as error:
        report("copy failed", describe(error))
    connection.rollback()


def cursors(connection):
    with connection.cursor("parts") as cursor:
        cursor.execute("select n from generate_series(1, 1000) n")
        report("parts", [len(cursor.fetchmany(300)) for _ in range(4)])
    connection.commit()
    with connection.cursor() as cursor:
        report("stream", sum(n for (n,) in cursor.stream("select generate_series(1, 5000)")))
    connection.commit()


def until_running(pool, query):
    """Waits until the database runs the statement."""
    deadline = time.monotonic() + 30
    sql = "select 1 from pg_stat_activity where state = 'active' and query = %s"
    with pool.connection() as connection:
        connection.autocommit = True
        while connection.execute(sql, (query,)).fetchone() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(query)
        connection.autocommit = False


def cancels(pool):
    query = "select pg_sleep(60) as for_psycopg"
    for cancel in ("cancel_safe", "cancel"):
        with pool.connection() as connection:
            failed = []
            thread = threading.Thread(target=lambda: failed.append(failure(connection, query)))
            thread.start()
            until_running(pool, query)
            getattr(connection, cancel)()
            thread.join()
            report(cancel, failed)
            report("after", connection.execute("select 1").fetchone())


def crowd(pool):
    def ask(n):
        with pool.connection() as connection:
            query = f"select %s::int * 10 + {n % 15}"
            with connection.cursor() as cursor:
                return cursor.execute(query, (n,)).fetchone()[0]

    with ThreadPoolExecutor(CLIENTS) as threads:
        report("crowd", list(threads.map(ask, range(400))))


def work():
    with ConnectionPool(min_size=CLIENTS, open=True) as pool:
        pool.wait()
        with pool.connection() as connection:
            connection.execute("drop table if exists psycopg_orders")
            connection.execute(
                "create table psycopg_orders (id int generated always as identity primary key,"
                " customer text not null unique)"
            )
        steps = (types, transactions, errors, pipelines, copies, cursors)
        for step in steps:
            with pool.connection() as connection:
                step(connection)
        cancels(pool)
        crowd(pool)


def listen():
    with psycopg.connect(autocommit=True) as listener, psycopg.connect(autocommit=True) as notifier:
        listener.execute("listen psycopg_news")
        for payload in ("first", "last"):
            notifier.execute("select pg_notify('psycopg_news', %s)", (payload,))
        heard = [(n.channel, n.payload) for n in listener.notifies(timeout=30, stop_after=2)]
        report("heard", heard)


listen() if "listen" in sys.argv else work()
