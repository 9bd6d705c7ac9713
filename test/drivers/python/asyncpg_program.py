"""asyncpg as an application uses it: a pool of connections, which it resets after each use."""

import asyncio
import io
import sys
import time
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from ipaddress import ip_network
from uuid import UUID

import asyncpg

from report import CLIENTS, describe, report

ROUNDS = 3


async def failure(awaitable):
    try:
        return [tuple(row) for row in await awaitable]
    except asyncpg.PostgresError as error:
        return describe(error)


async def types(connection):
    query = """select $1::text, $2::int, $3::bigint, $4::numeric, $5::float8, $6::bool, $7::timestamptz,
        $8::date, $9::bytea, $10::jsonb, $11::int[], $12::text[], $13::uuid, $14::interval, $15::cidr, $16::text"""
    values = (
        "text with ' and ü 🦑", -42, 2**62, Decimal("123456789.000000001"), 1e-7, True,
        datetime(2026, 2, 3, 4, 5, 6, 789, timezone.utc), date(2026, 2, 3), bytes(range(256)),
        '{"key": ["value", null]}', [1, 2, None], ["a", 'b,"c"'],
        UUID("0b4a6d6e-7f4b-4a53-9d7b-6a2a54a4a000"), timedelta(days=1, seconds=2),
        ip_network("10.0.0.0/8"), None,
    )
    for _ in range(ROUNDS):
        report("types", tuple(await connection.fetchrow(query, *values)))
    report("large", await connection.fetchval("select length($1::text)", "x" * 1_000_000))
    statement = await connection.prepare("select $1::int + n as sum from generate_series(1, 3) n")
    report("parameters", [str(kind.name) for kind in statement.get_parameters()])
    report("prepared", [[row["sum"] for row in await statement.fetch(n)] for n in range(5)])
    report("script", await connection.execute("select 1; create temp table t (a int) on commit drop"))
    # The driver asks the catalogue for a type that it does not know.
    await connection.execute("drop type if exists asyncpg_mood; create type asyncpg_mood as enum ('good', 'bad')")
    report("enum", await connection.fetchval("select $1::asyncpg_mood", "good"))
    report("composite", tuple(await connection.fetchval("select row('good'::asyncpg_mood, 1, 'text'::text)")))
    report("array of enum", await connection.fetchval("select array['good', 'bad']::asyncpg_mood[]"))


async def transactions(connection):
    insert = "insert into asyncpg_orders (customer) values ($1) returning id"
    async with connection.transaction(isolation="serializable"):
        report("inserted", await connection.fetchval(insert, "one"))
        try:
            async with connection.transaction():
                await connection.fetchval(insert, "one")
        except asyncpg.UniqueViolationError as error:
            report("duplicate", describe(error))
        report("inserted", await connection.fetchval(insert, "two"))
        async for row in connection.cursor("select n from generate_series(1, 200) n"):
            last = row[0]
        report("cursor", last)
    try:
        async with connection.transaction():
            await connection.fetchval(insert, "never")
            raise RuntimeError
    except RuntimeError:
        pass
    report("orders", await failure(connection.fetch("select customer from asyncpg_orders order by id")))


async def errors(connection):
    for n in range(ROUNDS):
        report("no table", await failure(connection.fetch("select * from asyncpg_nowhere")))
        report("bad text", await failure(connection.fetch("select $1::text::int", "x")))
        report("division", await failure(connection.fetch("select 1 / $1::int", 0)))
        report("bad script", await failure(connection.execute("select 1; select 1 / 0")))
        report("after", await connection.fetchval("select $1::int", n))


async def changes(connection):
    """A table changes under a statement that is in the driver's cache."""
    await connection.execute("drop table if exists asyncpg_items; create table asyncpg_items (a int)")
    await connection.execute("insert into asyncpg_items values (1)")
    for change in ("add column b text default 'b'", "alter column a type text", "drop column b"):
        report("before", await failure(connection.fetch("select * from asyncpg_items")))
        await connection.execute(f"alter table asyncpg_items {change}")
        report(change, await failure(connection.fetch("select * from asyncpg_items")))


async def batches(connection):
    rows = [(f"batch {n}",) for n in range(2_000)]
    await connection.executemany("insert into asyncpg_orders (customer) values ($1)", rows)
    again = connection.executemany("insert into asyncpg_orders (customer) values ($1)", rows)
    report("batch again", await failure(again))
    records = [(f"copied {n}",) for n in range(20_000)]
    report("copied", await connection.copy_records_to_table("asyncpg_orders", records=records, columns=["customer"]))
    sink = io.BytesIO()
    report("copied", await connection.copy_from_query("select customer from asyncpg_orders order by id", output=sink))
    report("bytes", len(sink.getvalue()))
    source = io.BytesIO(b"x\ty\n" * 1000)
    report("copy failed", await failure(connection.copy_to_table("asyncpg_orders", source=source)))


async def timeouts(pool):
    async with pool.acquire() as connection:
        try:
            await connection.fetch("select pg_sleep($1)", 60, timeout=0.3)
        except asyncio.TimeoutError:
            report("timeout", True)
        report("after", await connection.fetchval("select 1"))
        query = "select pg_sleep(60) as for_asyncpg"
        task = asyncio.create_task(connection.fetch(query))
        await until_running(pool, query)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            report("cancelled", True)
        report("after", await connection.fetchval("select 1"))


async def until_running(pool, query):
    """Waits until the database runs the statement."""
    deadline = time.monotonic() + 30
    running = "select 1 from pg_stat_activity where state = 'active' and query = $1"
    while await pool.fetchval(running, query) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(query)


async def crowd(pool):
    async def ask(n):
        return await pool.fetchval(f"select $1::int * 10 + {n % 15}", n)

    report("crowd", await asyncio.gather(*(ask(n) for n in range(600))))


async def work():
    async with asyncpg.create_pool(min_size=CLIENTS, max_size=CLIENTS) as pool:
        await pool.execute("drop table if exists asyncpg_orders")
        await pool.execute(
            "create table asyncpg_orders (id int generated always as identity primary key,"
            " customer text not null unique)"
        )
        for step in (types, transactions, errors, changes, batches):
            async with pool.acquire() as connection:
                await step(connection)
        await timeouts(pool)
        await crowd(pool)


async def listen():
    listener, notifier = await asyncpg.connect(), await asyncpg.connect()
    heard, finished = [], asyncio.Event()

    def hear(_connection, _pid, channel, payload):
        heard.append((channel, payload))
        if payload == "last":
            finished.set()

    await listener.add_listener("asyncpg_news", hear)
    for payload in ("first", "last"):
        await notifier.execute("select pg_notify('asyncpg_news', $1)", payload)
    await asyncio.wait_for(finished.wait(), 30)
    report("heard", heard)
    await listener.close()
    await notifier.close()


asyncio.run(listen() if "listen" in sys.argv else work())
