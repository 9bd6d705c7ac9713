/** node-postgres as an application uses it: a pool of clients, all settings as they come. */

import pg from 'pg';
import { CLIENTS, failureOf, report } from './report.ts';

const TYPES = `select $1::text as text, $2::int as int, $3::bigint as bigint, $4::numeric as numeric,
  $5::float8 as float, $6::bool as bool, $7::timestamptz as time, $8::date as date, $9::bytea as bytes,
  $10::jsonb as json, $11::int[] as ints, $12::text[] as texts, $13::uuid as uuid, $14::inet as inet,
  $15::interval as interval, $16::text as nothing`;
const VALUES = [
  'text with \' and " and ü 🦑',
  -42,
  '9223372036854775807',
  '123456789.000000001',
  1e-7,
  true,
  new Date('2026-02-03T04:05:06.789Z'),
  '2026-02-03',
  Buffer.from([0, 1, 127, 128, 255]),
  { key: ['value', null, 1.5] },
  [1, 2, null],
  ['a', 'b,"c"', null],
  '0b4a6d6e-7f4b-4a53-9d7b-6a2a54a4a000',
  '10.0.0.0/8',
  '1 day 02:03:04',
  null,
];

if (process.argv.includes('listen')) await listen();
else await work();

async function work(): Promise<void> {
  const pool = new pg.Pool({ max: CLIENTS });
  await pool.query('drop table if exists npg_orders');
  await pool.query(`create table npg_orders (
    id int generated always as identity primary key, customer text not null unique, amount int)`);
  await parameters(pool);
  await transactions(pool);
  await errors(pool);
  await crowd(pool);
  await pool.end();
  await settings();
  await pipelined();
}

async function parameters(pool: pg.Pool): Promise<void> {
  for (let round = 0; round < 3; round++) {
    report('types', (await pool.query(TYPES, VALUES)).rows);
    const named = { name: 'types', text: TYPES, values: VALUES };
    report('types by name', (await pool.query(named)).rows);
  }
  const { fields, rows } = await pool.query({
    text: 'values ($1::int, 2)',
    values: [1],
    rowMode: 'array',
  });
  report('fields', [fields.map(({ name, dataTypeID }) => [name, dataTypeID]), rows]);
  const several: unknown = await pool.query(
    'select 1 as one; select 2 as two; select 3 where false',
  );
  if (!Array.isArray(several)) throw new Error('several statements have several results');
  report(
    'several',
    several.map(({ rows, command }) => [rows, command]),
  );
  report('nothing', (await pool.query('')).rows);
  const large = 'x'.repeat(1_000_000);
  report('large', (await pool.query('select length($1::text) as n', [large])).rows);
}

async function transactions(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  const insert = (customer: string) =>
    client.query('insert into npg_orders (customer, amount) values ($1, 1) returning id', [
      customer,
    ]);
  await client.query('begin isolation level repeatable read');
  report('inserted', (await insert('one')).rows);
  await client.query('savepoint a');
  report('duplicate', await failureOf(insert('one')));
  report('aborted', await failureOf(client.query('select 1')));
  await client.query('rollback to savepoint a');
  report('inserted', (await insert('two')).rows);
  await client.query('commit');
  await client.query('begin');
  await client.query('set local statement_timeout = 12345');
  report('local', (await client.query('show statement_timeout')).rows);
  await insert('three');
  await client.query('rollback');
  report('orders', (await client.query('select * from npg_orders order by id')).rows);
  client.release();
}

async function errors(pool: pg.Pool): Promise<void> {
  const client = await pool.connect();
  for (let round = 0; round < 3; round++) {
    report('no table', await failureOf(client.query('select * from npg_nowhere')));
    report('bad text', await failureOf(client.query('select $1::int', ['x'])));
    report('division', await failureOf(client.query('select 1 / $1::int', [0])));
    const wrong = { name: `wrong ${round}`, text: 'select nowhere from npg_orders where id = $1' };
    report('no column', await failureOf(client.query({ ...wrong, values: [1] })));
    report('after', (await client.query('select $1::int as n', [round])).rows);
  }
  client.release();
}

async function crowd(pool: pg.Pool): Promise<void> {
  const ask = async (n: number) => {
    const query = { text: `select $1::int * 10 + ${n % 30} as n`, values: [n] };
    const { rows } = await pool.query(n % 2 === 0 ? query : { ...query, name: `crowd ${n % 30}` });
    return rows[0]?.n;
  };
  report('crowd', await Promise.all(Array.from({ length: 600 }, (_, n) => ask(n))));
}

/** Settings that the driver gives at the start of a connection, and one that ends a statement. */
async function settings(): Promise<void> {
  const client = new pg.Client({ application_name: 'orders', statement_timeout: 250 });
  await client.connect();
  report('name', (await client.query('show application_name')).rows);
  report('timeout', await failureOf(client.query('select pg_sleep(60)')));
  report('timeout', await failureOf(client.query('select pg_sleep($1)', [60])));
  await client.end();
}

async function pipelined(): Promise<void> {
  const client = new pg.Client({ pipeline: true });
  await client.connect();
  const queries = Array.from({ length: 60 }, (_, n) => {
    const text = n % 7 === 3 ? 'select 1 / ($1::int - $1)' : `select $1::int + ${n % 5} as n`;
    const query = n % 3 === 0 ? { name: `${n % 5} ${n % 7 === 3}`, text } : { text };
    return failureOf(client.query({ ...query, values: [n] }).then(({ rows }) => rows));
  });
  report('pipelined', await Promise.all(queries));
  await client.end();
}

async function listen(): Promise<void> {
  const [listener, notifier] = [new pg.Client(), new pg.Client()];
  await Promise.all([listener.connect(), notifier.connect()]);
  const heard: string[] = [];
  const all = new Promise<void>((resolve) => {
    listener.on('notification', ({ channel, payload = '' }) => {
      heard.push(`${channel} ${payload}`);
      if (payload === 'last') resolve();
    });
  });
  await listener.query('listen npg_news');
  await notifier.query("select pg_notify('npg_news', $1)", ['first']);
  await notifier.query("begin; notify npg_news, 'unsaid'; rollback");
  await notifier.query("notify npg_news, 'last'");
  await all;
  report('heard', heard);
  await Promise.all([listener.end(), notifier.end()]);
}
