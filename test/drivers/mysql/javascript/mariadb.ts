/** The connector of MariaDB as an application uses it: a pool, batches, streams, all settings as they come. */

import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import mariadb from 'mariadb';
import { CLIENTS, failureOf, report } from '../../javascript/report.ts';
import { CONNECTION } from './connection.ts';

const TYPES = `select ? as text, ? as number, ? as fraction, ? as truth, ? as moment, ? as bytes, ? as nothing,
  cast('123456789.000000001' as decimal(30, 9)) as exact, cast('9007199254740993' as signed) as big`;
const VALUES = [
  'text with \' and " and ü 🦑',
  -42,
  0.5,
  true,
  new Date('2026-02-03T04:05:06.789Z'),
  Buffer.from([0, 1, 127, 128, 255]),
  null,
];

const pool = mariadb.createPool({
  ...CONNECTION,
  connectionLimit: CLIENTS,
  allowPublicKeyRetrieval: true,
  // For the crowd at the end, which may have to wait on a busy machine.
  acquireTimeout: 60_000,
});
await pool.query('drop table if exists mdb_orders');
await pool.query(`create table mdb_orders (
  id int auto_increment primary key, customer varchar(50) not null unique, amount int)`);
await parameters();
await batches();
await transactions();
await errors();
await streamed();
await crowd();
await pool.end();

async function parameters(): Promise<void> {
  for (let round = 0; round < 3; round++) {
    report('types', await pool.query(TYPES, VALUES));
    report('types, prepared', await pool.execute(TYPES, VALUES));
  }
  report('as arrays', await pool.query({ sql: 'select 1 as a, 2 as b', rowsAsArray: true }));
  report('named', await pool.query({ sql: 'select :a as a', namedPlaceholders: true }, { a: 5 }));
  report('large', await pool.execute('select length(?) as n', ['x'.repeat(1_000_000)]));
  report('large', await pool.query('select length(?) as n', ['x'.repeat(200_000)]));
  const client = await pool.getConnection();
  const statement = await client.prepare('select ? * 2 as n');
  for (let n = 0; n < 5; n++) report('prepared', await statement.execute([n]));
  statement.close();
  await client.release();
}

async function batches(): Promise<void> {
  const sql = 'insert into mdb_orders (customer, amount) values (?, ?)';
  const rows = Array.from({ length: 500 }, (_, n) => [`customer ${n}`, n % 7 === 0 ? null : n]);
  await pool.batch(sql, rows);
  report('batch again', await failureOf(pool.batch(sql, rows.slice(0, 3))));
  report('sum', await pool.query('select count(*) as n, sum(amount) as sum from mdb_orders'));
}

async function transactions(): Promise<void> {
  const client = await pool.getConnection();
  const insert = (customer: string) =>
    client.execute('insert into mdb_orders (customer, amount) values (?, 1)', [customer]);
  await client.beginTransaction();
  await insert('one');
  report('duplicate', await failureOf(insert('one')));
  await client.commit();
  await client.beginTransaction();
  await insert('two');
  await client.rollback();
  report('orders', await client.query('select customer from mdb_orders where amount = 1'));
  // Pipelined: all are sent before the first is answered.
  const numbers = Array.from({ length: 20 }, (_, n) => client.query(`select ${n} as n`));
  report('pipelined', await Promise.all(numbers));
  await client.release();
}

async function errors(): Promise<void> {
  const client = await pool.getConnection();
  for (let round = 0; round < 3; round++) {
    report('no table', await failureOf(client.query('select * from mdb_nowhere')));
    report(
      'no table',
      await failureOf(client.execute('select * from mdb_nowhere where a = ?', [1])),
    );
    report('bad text', await failureOf(client.query('selekt 1')));
    report('after', await client.execute('select ? as n', [round]));
  }
  // By SET STATEMENT max_statement_time, which MySQL has not.
  const slow = { sql: 'select count(*), sleep(30) from mdb_orders', timeout: 200 };
  report('timeout', await failureOf(client.query(slow)));
  report('after', await client.query('select 1 as n'));
  await client.release();
}

async function streamed(): Promise<void> {
  const client = await pool.getConnection();
  let sum = 0;
  const add = new Writable({
    objectMode: true,
    write({ amount }: { amount: number | null }, _encoding, done) {
      sum += amount ?? 0;
      done();
    },
  });
  await pipeline(client.queryStream('select amount from mdb_orders order by id'), add);
  report('streamed', sum);
  await client.release();
}

async function crowd(): Promise<void> {
  const ask = (n: number) => {
    const sql = `select ? * 10 + ${n % 30} as n`;
    return n % 2 === 0 ? pool.query(sql, [n]) : pool.execute(sql, [n]);
  };
  report('crowd', await Promise.all(Array.from({ length: 600 }, (_, n) => ask(n))));
}
