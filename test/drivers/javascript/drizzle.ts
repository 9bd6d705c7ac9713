/** Drizzle on node-postgres: migrations, then what an application does with its tables and relations. */

import { count, eq, inArray, sql } from 'drizzle-orm';
import { drizzle, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { migrate } from 'drizzle-orm/node-postgres/migrator';
import pg from 'pg';
import { CLIENTS, failureOf, report } from './report.ts';
import * as schema from './schema.ts';
import { posts, users } from './schema.ts';

type Database = NodePgDatabase<typeof schema>;

const JOINED = new Date('2026-02-03T04:05:06.000Z');

const [migrationsFolder = ''] = process.argv.slice(2);
const pool = new pg.Pool({ max: CLIENTS });
const database = drizzle(pool, { schema });
await database.execute(sql`drop table if exists drizzle_posts, drizzle_users`);
await database.execute(sql`drop schema if exists drizzle cascade`);
await migrate(database, { migrationsFolder });
await migrate(database, { migrationsFolder });
const journal = await database.execute(sql`select id, hash from drizzle.__drizzle_migrations`);
report('migrated', journal.rows);
await rows(database);
await transactions(database);
await crowd(database);
await pool.end();

async function rows(db: Database): Promise<void> {
  const names = ['ada', 'grace', 'edsger'];
  const people = names.map((name) => ({ name, joined: JOINED, settings: { theme: name } }));
  report('inserted', await db.insert(users).values(people).returning());
  report(
    'posted',
    await db
      .insert(posts)
      .values(
        Array.from({ length: 9 }, (_, n) => ({
          author: 1 + (n % 3),
          title: `post ${n}`,
          price: `${n}.50`,
          tags: ['a', `${n}`],
        })),
      )
      .returning({ id: posts.id }),
  );
  await db.update(users).set({ isActive: false }).where(eq(users.name, 'grace'));
  await db.delete(posts).where(inArray(posts.id, [8, 9]));
  const upsert = { name: 'ada', joined: JOINED, settings: { theme: 'dark' } };
  const set = { settings: upsert.settings };
  report(
    'upserted',
    await db
      .insert(users)
      .values(upsert)
      .onConflictDoUpdate({ target: users.name, set })
      .returning(),
  );
  for (let round = 0; round < 3; round++) {
    report(
      'with relations',
      await db.query.users.findMany({
        orderBy: users.id,
        with: { posts: { orderBy: posts.id, columns: { title: true, price: true, tags: true } } },
      }),
    );
    report('with writer', await db.query.posts.findFirst({ with: { writer: true } }));
  }
  const totals = db.select({ name: users.name, posts: count(posts.id) }).from(users);
  const joined = totals.leftJoin(posts, eq(posts.author, users.id)).groupBy(users.name);
  report('joined', await joined.orderBy(users.name));
  report('duplicate', await failureOf(db.insert(users).values(upsert).execute()));
}

async function transactions(db: Database): Promise<void> {
  await db.transaction(
    async (outer) => {
      await outer.update(users).set({ isActive: false });
      const inner = outer.transaction(async (nested) => {
        await nested.delete(posts);
        nested.rollback();
      });
      report('rolled back', await failureOf(inner));
      report('left', await outer.$count(posts));
    },
    { isolationLevel: 'serializable' },
  );
  const failing = db.transaction(async (transaction) => {
    await transaction.delete(posts);
    await transaction.insert(posts).values({ author: 99, title: 'nobody' });
  });
  report('nobody', await failureOf(failing));
  report('posts', await db.$count(posts));
}

async function crowd(db: Database): Promise<void> {
  const byName = db
    .select({ id: users.id })
    .from(users)
    .where(eq(users.name, sql.placeholder('name')))
    .prepare('by_name');
  const ask = async (n: number) => {
    if (n % 3 === 0) return (await byName.execute({ name: 'ada' })).length;
    if (n % 3 === 1) return (await db.query.posts.findMany({ with: { writer: true } })).length;
    return await db.transaction((transaction) => transaction.$count(users));
  };
  report('crowd', await Promise.all(Array.from({ length: 300 }, (_, n) => ask(n))));
}
