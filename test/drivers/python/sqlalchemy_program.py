"""SQLAlchemy 2 on psycopg and on asyncpg: tables, CRUD and relations with the ORM, all settings as they come."""

import asyncio
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal

from sqlalchemy import ForeignKey, create_engine, func, inspect, select, text, update
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship, selectinload
from sqlalchemy.types import DateTime, Text

from report import CLIENTS, describe, report

ROUNDS = 8


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "alchemy_users"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    settings: Mapped[dict | None] = mapped_column(JSONB)
    joined: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    posts: Mapped[list["Post"]] = relationship(back_populates="author", order_by="Post.id")


class Post(Base):
    __tablename__ = "alchemy_posts"
    id: Mapped[int] = mapped_column(primary_key=True)
    author_id: Mapped[int] = mapped_column(ForeignKey("alchemy_users.id"))
    title: Mapped[str]
    price: Mapped[Decimal | None]
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text))
    author: Mapped[User] = relationship(back_populates="posts")


JOINED = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone.utc)


def tables(connection):
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)
    found = inspect(connection)
    report("tables", [name for name in sorted(found.get_table_names()) if name.startswith("alchemy")])
    report("keys", found.get_foreign_keys("alchemy_posts"))
    report("columns", [column["name"] for column in found.get_columns("alchemy_users")])


def people(session):
    for name in ("ada", "grace", "edsger"):
        posts = [Post(title=f"{name} {n}", price=Decimal(n) / 4, tags=["a", name]) for n in range(4)]
        session.add(User(name=name, joined=JOINED, settings={"theme": name}, posts=posts))
    session.commit()
    for _ in range(ROUNDS):
        query = select(User).options(selectinload(User.posts)).order_by(User.id)
        users = session.scalars(query).all()
        report("users", [(u.id, u.name, u.settings, u.joined, [(p.id, p.price, p.tags) for p in u.posts]) for u in users])
        users[0].settings = {"theme": "dark"}
        session.commit()
        counts = select(User.name, func.count(Post.id)).join(Post).group_by(User.name).order_by(User.name)
        report("counts", [tuple(row) for row in session.execute(counts)])
        session.rollback()


def changes(session):
    upsert = insert(User).values(name="ada", joined=JOINED).on_conflict_do_update(
        index_elements=["name"], set_={"settings": {"theme": "light"}}
    )
    report("upserted", session.execute(upsert.returning(User.id)).all()[0][0])
    with session.begin_nested():
        session.execute(update(Post).values(title="changed"))
    try:
        with session.begin_nested():
            session.add(User(name="ada", joined=JOINED))
            session.flush()
    except DBAPIError as error:
        report("duplicate", describe(error))
    report("changed", session.scalar(select(func.count()).where(Post.title == "changed")))
    session.rollback()
    try:
        session.execute(text("select * from alchemy_nowhere"))
    except DBAPIError as error:
        report("no table", describe(error))
    session.rollback()
    session.bulk_save_objects([Post(author_id=1, title=f"bulk {n}", tags=[]) for n in range(1500)])
    session.commit()
    report("posts", session.scalar(select(func.count(Post.id))))
    report("parts", sum(1 for _ in session.scalars(select(Post).execution_options(yield_per=100))))
    session.commit()


def in_session(step):
    def run(connection):
        with Session(connection) as session:
            step(session)

    return run


def question(n):
    return select(User.name, text(f"{n % 15}")).where(User.id == 1 + n % 3)


def on_psycopg(url):
    engine = create_engine(f"postgresql+psycopg://{url}", pool_size=CLIENTS)
    with engine.begin() as connection:
        tables(connection)
    for step in (people, changes):
        with Session(engine) as session:
            step(session)

    def ask(n):
        with engine.connect() as connection:
            return tuple(connection.execute(question(n)).one())

    with ThreadPoolExecutor(CLIENTS) as threads:
        report("crowd", list(threads.map(ask, range(200))))
    autocommit = engine.execution_options(isolation_level="AUTOCOMMIT")
    with autocommit.connect() as connection:
        report("autocommit", connection.scalar(text("select 1")))
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    with serializable.connect() as connection:
        report("level", connection.scalar(text("show transaction_isolation")))
    engine.dispose()


async def on_asyncpg(url):
    engine = create_async_engine(f"postgresql+asyncpg://{url}", pool_size=CLIENTS)
    async with engine.begin() as connection:
        await connection.run_sync(tables)
    for step in (people, changes):
        async with engine.connect() as connection:
            await connection.run_sync(in_session(step))
            await connection.commit()

    async def ask(n):
        async with engine.connect() as connection:
            return tuple((await connection.execute(question(n))).one())

    report("crowd", await asyncio.gather(*(ask(n) for n in range(200))))
    serializable = engine.execution_options(isolation_level="SERIALIZABLE")
    async with serializable.connect() as connection:
        report("level", await connection.scalar(text("show transaction_isolation")))
    await engine.dispose()


values = {name: os.environ[name] for name in ("PGUSER", "PGPASSWORD", "PGHOST", "PGPORT", "PGDATABASE")}
address = "{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**values)
if "asyncpg" in sys.argv:
    asyncio.run(on_asyncpg(address))
else:
    on_psycopg(address)
