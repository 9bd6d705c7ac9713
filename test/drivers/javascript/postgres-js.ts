/** postgres.js as an application uses it, all settings as they come: it prepares everything by name. */

import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import postgres from 'postgres';
import { CLIENTS, digest, failureOf, report } from './report.ts';

const ROWS = 300;

if (process.argv.includes('listen')) await listen();
else await work();

function connect(): postgres.Sql {
  return postgres({ max: CLIENTS, onnotice: () => undefined });
}

async function work(): Promise<void> {
  const sql = connect();
  await sql`drop table if exists pjs_items, pjs_orders`;
  await sql`create table pjs_orders (
    id int generated always as identity primary key, customer text not null unique, amount int)`;
  await parameters(sql);
  await transactions(sql);
  await errors(sql);
  await crowd(sql);
  await cursors(sql);
  await copy(sql);
  await changes(sql);
  await cancelled(sql);
  await sql.end();
}

async function parameters(sql: postgres.Sql): Promise<void> {
  for (let round = 0; round < 3; round++) {
    report(
      'types',
      await sql`select ${'text'}::text as text, ${-42}::int as int, ${'9223372036854775807'}::bigint as bigint,
        ${'1.000000001'}::numeric as numeric, ${1e-7}::float8 as float, ${true}::bool as bool,
        ${new Date('2026-02-03T04:05:06.789Z')}::timestamptz as time, ${Buffer.from([0, 255])}::bytea as bytes,
        ${sql.json({ key: ['value', null] })} as json, ${sql.array([1, 2, 3])}::int[] as ints,
        ${['a', 'b,"c"']}::text[] as texts, ${null} as nothing`,
    );
  }
  const orders = Array.from({ length: 5 }, (_, n) => ({ customer: `customer ${n}`, amount: n }));
  report('inserted', await sql`insert into pjs_orders ${sql(orders)} returning id, customer`);
  report(
    'in',
    await sql`select customer from pjs_orders where id in ${sql([1, 3, 99])} order by id`,
  );
  const change = { amount: 70 };
  report('updated', (await sql`update pjs_orders set ${sql(change)} where id = 1`).count);
  const { types, columns } = await sql`select * from pjs_orders where id = ${1}`.describe();
  report('described', [types, columns.map(({ name, type }) => [name, type])]);
  report('several', await sql`select 1 as one; select 2 as two`.simple());
  report('unsafe', await sql.unsafe('select $1::int as n', [5]));
  report('large', await sql`select length(${'x'.repeat(1_000_000)}) as n`);
}

async function transactions(sql: postgres.Sql): Promise<void> {
  const kept = await sql.begin('isolation level serializable', async (transaction) => {
    const insert = (customer: string) =>
      transaction`insert into pjs_orders (customer) values (${customer}) returning customer`;
    await insert('kept');
    const inner = transaction.savepoint(async (savepoint) => {
      await savepoint`delete from pjs_orders`;
      await savepoint`insert into pjs_orders (customer) values ('kept'), ('kept')`;
    });
    report('savepoint', await failureOf(inner));
    return insert('also kept');
  });
  report('kept', kept);
  const failed = sql.begin(async (transaction) => {
    await transaction`delete from pjs_orders`;
    throw new Error('given up');
  });
  report('given up', await failureOf(failed));
  const together = await sql.begin((transaction) =>
    ['a', 'b', 'c'].map((text) => transaction`select ${text} as text`),
  );
  report('together', together);
  const reserved = await sql.reserve();
  report('reserved', await reserved`select count(*) from pjs_orders`);
  reserved.release();
}

async function errors(sql: postgres.Sql): Promise<void> {
  for (let round = 0; round < 3; round++) {
    report('no table', await failureOf(sql`select * from pjs_nowhere`));
    report('bad text', await failureOf(sql`select ${'x'}::text::int`));
    report('division', await failureOf(sql`select 1 / ${0}::int`));
    report('duplicate', await failureOf(sql`insert into pjs_orders (customer) values ('kept')`));
    report('after', await sql`select ${round}::int as n`);
  }
}

async function crowd(sql: postgres.Sql): Promise<void> {
  const ask = async (n: number) => {
    const [row] = await sql`select ${n}::int * 10 + ${sql.unsafe(String(n % 30))} as n`;
    return row?.n;
  };
  report('crowd', await Promise.all(Array.from({ length: 600 }, (_, n) => ask(n))));
}

async function cursors(sql: postgres.Sql): Promise<void> {
  const sizes: number[] = [];
  await sql`select generate_series(1, ${ROWS}::int) as n`.cursor(64, (rows) => {
    sizes.push(rows.length);
  });
  report('cursor', sizes);
  for await (const [row] of sql`select generate_series(1, 1000) as n`.cursor()) {
    if (row?.n === 7) break;
  }
  let sum = 0;
  await sql`select generate_series(1, 1000) as n`.forEach(({ n }) => {
    sum += Number(n);
  });
  report('sum', sum);
}

async function copy(sql: postgres.Sql): Promise<void> {
  const lines = Array.from({ length: 20_000 }, (_, n) => `copied ${n}\t${n}\n`);
  const into = await sql`copy pjs_orders (customer, amount) from stdin`.writable();
  await pipeline(Readable.from(lines), into);
  const chunks: Buffer[] = [];
  const source = await sql`copy (select * from pjs_orders order by id) to stdout`.readable();
  for await (const chunk of source) chunks.push(chunk);
  report('copied', digest(Buffer.concat(chunks)));
}

/** A table changes under statements that are prepared; the driver prepares them again. */
async function changes(sql: postgres.Sql): Promise<void> {
  await sql`create table pjs_items (a int)`;
  await sql`insert into pjs_items values (1)`;
  const all = () => sql`select * from pjs_items`;
  report('before', await all());
  await sql`alter table pjs_items add column b text default 'new'`;
  report('added', await all());
  await sql`alter table pjs_items alter column a type text`;
  report('changed', await all());
}

async function cancelled(sql: postgres.Sql): Promise<void> {
  const query = sql`select pg_sleep(60) as for_postgres_js`.execute();
  const failed = failureOf(query);
  const running = () => sql`select 1 from pg_stat_activity
    where state = 'active' and query = 'select pg_sleep(60) as for_postgres_js'`;
  while ((await running()).length === 0);
  query.cancel();
  report('cancelled', await failed);
  report('after', await sql`select 1 as one`);
}

async function listen(): Promise<void> {
  const sql = connect();
  const heard: string[] = [];
  let heardAll = () => {};
  const all = new Promise<void>((resolve) => {
    heardAll = resolve;
  });
  const { unlisten } = await sql.listen('pjs_news', (payload) => {
    heard.push(payload);
    if (payload === 'last') heardAll();
  });
  await sql.notify('pjs_news', 'first');
  await sql.notify('pjs_news', 'last');
  await all;
  report('heard', heard);
  await unlisten();
  await sql.end();
}
