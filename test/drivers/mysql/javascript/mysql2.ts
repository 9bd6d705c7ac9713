/** mysql2 as an application uses it: a pool of clients, `query` and `execute`, all settings as they come. */

import { createConnection, createPool, type Pool } from 'mysql2/promise';
import { CLIENTS, failureOf, report } from '../../javascript/report.ts';
import { CONNECTION } from './connection.ts';

const TYPES = `select ? as text, ? as number, ? as fraction, ? as truth, ? as moment, ? as bytes, ? as nothing,
  cast('123456789.000000001' as decimal(30, 9)) as exact, cast('9007199254740993' as signed) as big,
  cast('2026-02-03' as date) as day, cast('-12:34:56' as time) as clock`;
const VALUES = [
  'text with \' and " and ü 🦑',
  -42,
  0.5,
  true,
  new Date('2026-02-03T04:05:06.789Z'),
  Buffer.from([0, 1, 127, 128, 255]),
  null,
];

const pool = createPool({ ...CONNECTION, connectionLimit: CLIENTS });
await pool.query('drop table if exists m2_orders');
await pool.query(`create table m2_orders (
  id int auto_increment primary key, customer varchar(50) not null unique, amount int)`);
await parameters(pool);
await transactions(pool);
await errors(pool);
await changes(pool);
await crowd(pool);
await streamed();
await pool.end();
await several();
await killed();

async function parameters(pool: Pool): Promise<void> {
  for (let round = 0; round < 3; round++) {
    report('types', (await pool.query(TYPES, VALUES))[0]);
    report('types, prepared', (await pool.execute(TYPES, VALUES))[0]);
  }
  const [rows, fields] = await pool.execute({ sql: 'select ? + 1 as n', rowsAsArray: true }, [1]);
  report('fields', [rows, fields.map(({ name, type }) => [name, type])]);
  report('named', await pool.query('select :a as a', { a: 1 }).catch(() => 'not by default'));
  const large = 'x'.repeat(1_000_000);
  report('large', (await pool.query('select length(?) as n', ['x'.repeat(200_000)]))[0]);
  report('large, prepared', (await pool.execute('select length(?) as n', [large]))[0]);
}

async function transactions(pool: Pool): Promise<void> {
  const client = await pool.getConnection();
  const insert = (customer: string) =>
    client.execute('insert into m2_orders (customer, amount) values (?, 1)', [customer]);
  await client.beginTransaction();
  report('inserted', (await insert('one'))[0]);
  await client.query('savepoint a');
  report('duplicate', await failureOf(insert('one')));
  await client.query('rollback to savepoint a');
  report('inserted', (await insert('two'))[0]);
  await client.commit();
  report('last id', (await client.query('select last_insert_id() as id'))[0]);
  await client.beginTransaction();
  await insert('three');
  await client.rollback();
  report('orders', (await client.query('select * from m2_orders order by id'))[0]);
  await client.query('set session transaction isolation level serializable');
  await client.query("set time_zone = '+02:00', sql_mode = concat(@@sql_mode, ',ANSI_QUOTES')");
  for (let round = 0; round < 5; round++) {
    const sql = 'select @@time_zone as zone, @@sql_mode as mode, "id" as id from m2_orders limit 1';
    report('settings', (await client.query(sql))[0]);
  }
  client.release();
  // What one client of the pool has set is the next one's too, as it is without a proxy: so it goes.
  await client.destroy();
}

async function errors(pool: Pool): Promise<void> {
  const client = await pool.getConnection();
  for (let round = 0; round < 3; round++) {
    report('no table', await failureOf(client.query('select * from m2_nowhere')));
    report(
      'no table',
      await failureOf(client.execute('select * from m2_nowhere where a = ?', [1])),
    );
    report('bad text', await failureOf(client.query('selekt 1')));
    report('too few', await failureOf(client.execute('select ? as a, ? as b', [1])));
    report('warned', (await client.query("select 'x' + 1 as n"))[0]);
    report('warnings', (await client.query('show warnings'))[0]);
    report('after', (await client.execute('select ? as n', [round]))[0]);
  }
  client.release();
}

/** A table changes under statements that are prepared. */
async function changes(pool: Pool): Promise<void> {
  await pool.query('drop table if exists m2_items');
  await pool.query('create table m2_items (a int)');
  await pool.execute('insert into m2_items values (?)', [1]);
  const all = async () => (await pool.execute('select * from m2_items where a > ?', [0]))[0];
  report('before', await all());
  await pool.query("alter table m2_items add column b varchar(10) default 'new'");
  report('added', await all());
  await pool.query('alter table m2_items drop column b');
  report('dropped', await all());
  await pool.query('drop table m2_items');
}

async function crowd(pool: Pool): Promise<void> {
  const ask = async (n: number) => {
    const sql = `select ? * 10 + ${n % 30} as n`;
    const [rows] = await (n % 2 === 0 ? pool.query(sql, [n]) : pool.execute(sql, [n]));
    return rows;
  };
  report('crowd', await Promise.all(Array.from({ length: 600 }, (_, n) => ask(n))));
}

async function streamed(): Promise<void> {
  const { createConnection: connect } = await import('mysql2');
  const client = connect(CONNECTION);
  const rows: AsyncIterable<{ n: number }> = client
    .query(
      'with recursive s as (select 1 as n union all select n + 1 from s where n < 900) select n from s',
    )
    .stream({ highWaterMark: 5 });
  let sum = 0;
  for await (const { n } of rows) sum += n;
  report('streamed', sum);
  await new Promise((resolve) => client.end(resolve));
}

async function several(): Promise<void> {
  const client = await createConnection({ ...CONNECTION, multipleStatements: true });
  report(
    'several',
    (await client.query('select 1 as one; select 2 as two; do 0; select 3 as c'))[0],
  );
  report(
    'failed',
    await failureOf(client.query('select 1 as one; select * from m2_nowhere; select 2')),
  );
  await client.query('drop procedure if exists m2_two');
  await client.query(`create procedure m2_two(in a int, out b int)
    begin select a as first; select a + 1 as second; set b = a + 2; end`);
  report('procedure', (await client.execute('call m2_two(?, ?)', [7, null]))[0]);
  report('pong', await client.ping());
  await client.reset();
  report('reset', (await client.query('select database() as d'))[0]);
  await client.end();
}

/** One connection ends the statement of another, by the number that the driver was given at the log-in. */
async function killed(): Promise<void> {
  const [sleeper, killer] = [
    await createConnection(CONNECTION),
    await createConnection(CONNECTION),
  ];
  const slept = failureOf(sleeper.query('select sleep(30) as m2_sleeper').then(([rows]) => rows));
  const look = `select id from information_schema.processlist
    where info like '%m2_sleeper%' and info not like '%processlist%'`;
  for (let seen = 0; seen === 0; ) {
    const [rows] = await killer.query(look);
    seen = Array.isArray(rows) ? rows.length : 0;
  }
  await killer.query(`kill query ${sleeper.threadId}`);
  report('killed', await slept);
  report('after', (await sleeper.query('select 1 as n'))[0]);
  await Promise.all([sleeper.end(), killer.end()]);
  // The driver gives up, and its connection is of no more use.
  const impatient = await createConnection(CONNECTION);
  report('timeout', await failureOf(impatient.query({ sql: 'select sleep(30)', timeout: 200 })));
  impatient.destroy();
}
