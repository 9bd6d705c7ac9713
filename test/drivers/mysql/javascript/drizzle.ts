/** Drizzle on mysql2: migrations, then what an application does with its tables and relations. */

import { count, eq, inArray, sql } from 'drizzle-orm';
import { drizzle, type MySql2Database } from 'drizzle-orm/mysql2';
import { migrate } from 'drizzle-orm/mysql2/migrator';
import { createPool } from 'mysql2/promise';
import { CLIENTS, failureOf, report } from '../../javascript/report.ts';
import { CONNECTION } from './connection.ts';
import * as schema from './schema.ts';
import { posts, users } from './schema.ts';

type Database = MySql2Database<typeof schema>;

const JOINED = new Date('2026-02-03T04:05:06.000Z');

const [migrationsFolder = ''] = process.argv.slice(2);
const pool = createPool({ ...CONNECTION, connectionLimit: CLIENTS });
const database = drizzle(pool, { schema, mode: 'default' });
await database.execute(
  sql`drop table if exists drizzle_posts, drizzle_users, __drizzle_migrations`,
);
await migrate(database, { migrationsFolder });
await migrate(database, { migrationsFolder });
report('migrated', (await database.execute(sql`select id, hash from __drizzle_migrations`))[0]);
await rows(database);
await transactions(database);
await crowd(database);
await pool.end();

async function rows(db: Database): Promise<void> {
  const names = ['ada', 'grace', 'edsger'];
  const people = names.map((name) => ({ name, joined: JOINED, settings: { theme: name } }));
  report('inserted', await db.insert(users).values(people).$returningId());
  const values = Array.from({ length: 9 }, (_, n) => ({
    author: 1 + (n % 3),
    title: `post ${n}`,
    price: `${n}.50`,
  }));
  report('posted', await db.insert(posts).values(values).$returningId());
  await db.update(users).set({ isActive: false }).where(eq(users.name, 'grace'));
  await db.delete(posts).where(inArray(posts.id, [8, 9]));
  const upsert = { name: 'ada', joined: JOINED, settings: { theme: 'dark' } };
  const set = { settings: upsert.settings };
  await db.insert(users).values(upsert).onDuplicateKeyUpdate({ set });
  for (let round = 0; round < 3; round++) {
    report('users', await db.select().from(users).orderBy(users.id));
    const posted = db.select().from(posts).innerJoin(users, eq(posts.author, users.id));
    report('posts', await posted.orderBy(posts.id));
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
    .prepare();
  const ask = async (n: number) => {
    if (n % 3 === 0) return (await byName.execute({ name: 'ada' })).length;
    if (n % 3 === 1) return (await db.select().from(posts)).length;
    return await db.transaction((transaction) => transaction.$count(users));
  };
  report('crowd', await Promise.all(Array.from({ length: 300 }, (_, n) => ask(n))));
}
