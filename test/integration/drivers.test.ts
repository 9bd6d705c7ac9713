/** Real clients as people use them: psql, pgbench, the drivers `pg` and `postgres`. */

import { beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import pg from 'pg';
import postgres from 'postgres';
import { pooledConnections, untilRunning } from '../faults/activity.ts';
import { isAdversarial } from '../harness/adversary.ts';
import { useBerth } from '../harness/berth.ts';
import { within } from '../harness/deadline.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { psql, runProgram, testWith } from '../harness/programs.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(30_000);

/** Of each of pgbench's clients. In front of an adversary each takes much longer. */
const TRANSACTIONS = isAdversarial() ? 5 : 25;

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 4 },
  expect: ['session.pinned'],
}));

beforeAll(async () => {
  await adminQuery(
    database(),
    `create table accounts (id int primary key, balance int not null, note text);
     alter table accounts owner to app`,
  );
}, START_DEADLINE_MS);

async function fillAccounts(): Promise<void> {
  await adminQuery(
    database(),
    'truncate accounts; insert into accounts select n, 100 from generate_series(1, 20) n',
  );
}

/** The SQLSTATE of the error that a query ends with. */
async function sqlStateOf(query: PromiseLike<unknown>): Promise<unknown> {
  try {
    await query;
    return 'no error';
  } catch (error) {
    return error instanceof Error && 'code' in error ? error.code : error;
  }
}

async function totalBalance(): Promise<number> {
  const [row] = await adminQuery(database(), 'select sum(balance) as sum from accounts');
  return Number(row?.sum);
}

describe('psql', () => {
  /** The script's output, directly and through the proxy; both must be equal. */
  async function same(script: string): Promise<string> {
    const [direct, through] = [
      await psql(script, { port: database().port }),
      await psql(script, { port: berth().port }),
    ];
    expect(through).toEqual(direct);
    await untilAllReturned(berth());
    return through.stdout;
  }

  testWith(
    'psql',
    'a script with transactions, temporary tables and every kind of statement',
    async () => {
      const output = await same(
        `
      begin;
      create table if not exists notes (id serial primary key, note text);
      truncate notes restart identity;
      insert into notes (note) values ('one'), ('two') returning id, note;
      savepoint a;
      delete from notes;
      rollback to a;
      commit;
      create temp table mine as select * from notes;
      select count(*) from mine;
      set application_name = 'a script';
      show application_name;
      prepare by_id (int) as select note from notes where id = $1;
      execute by_id (2);
      do $$ begin raise notice 'hello'; end $$;
      select * from notes order by id \\gset last_
      drop table notes;`.replace(/order by id \\gset.*/, 'order by id desc limit 1 \\gset last_'),
      );
      expect(output).toContain('a script');
    },
  );

  testWith('psql', 'meta-commands, \\gexec, \\bind and \\crosstabview', async () => {
    await same(
      `
      select format('select %s', n) from generate_series(1, 5) n \\gexec
      select $1::int + $2::int \\bind 40 2 \\g
      \\d accounts
      \\dt
      \\df pg_catalog.abs
      select n % 2 as odd, n % 3 as third, count(*) from generate_series(1, 30) n group by 1, 2 order by 1, 2 \\crosstabview
      \\conninfo_is_not_a_command
    `.replace('\\conninfo_is_not_a_command', "\\echo ':done'"),
    );
  });

  testWith('psql', 'an error stops the script with its text and exit code', async () => {
    const script = 'select 1;\nselect 1 / 0;\nselect 2;';
    await same(script);
    const { code, stderr } = await psql(script, { port: berth().port });
    expect(code).toBe(3);
    expect(stderr).toContain('division by zero');
  });

  testWith('psql', '\\copy in and out, small and large', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-copy-'));
    try {
      const lines = Array.from({ length: 200_000 }, (_, n) => `${n}\t${n}\tnote ${n}\n`).join('');
      writeFileSync(join(folder, 'in'), lines);
      const { code, stderr } = await psql(
        `truncate accounts;
         \\copy accounts from '${folder}/in'
         \\copy (select * from accounts order by id) to '${folder}/out'`,
        { port: berth().port },
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      expect(readFileSync(join(folder, 'out'), 'utf8') === lines).toBe(true);
      writeFileSync(join(folder, 'bad'), 'not\ta\tnumber\n'.repeat(1_000));
      await same(`\\copy accounts from '${folder}/bad'`);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  testWith('psql', 'FETCH_COUNT reads a result in parts', async () => {
    await same(
      "\\set FETCH_COUNT 100\nselect n, repeat('x', n % 50) from generate_series(1, 5000) n;",
    );
  });
});

describe('pg', () => {
  function options() {
    const { port } = berth();
    return { host: '127.0.0.1', port, user: 'app', password: 'app-password', database: 'app' };
  }

  async function connected<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
    const client = new pg.Client(options());
    await client.connect();
    try {
      return await use(client);
    } finally {
      await client.end();
    }
  }

  test('simple, parameterised and named queries', async () => {
    await connected(async (client) => {
      expect((await client.query('select 1 as one; select 2 as two')) as unknown).toMatchObject([
        { rows: [{ one: 1 }] },
        { rows: [{ two: 2 }] },
      ]);
      const values = ['text', 42, null, new Date(0), Buffer.from([0, 255]), ['a', 'b'], { key: 1 }];
      const sql = `select $1::text as a, $2::int as b, $3::text as c, $4::timestamptz as d,
        $5::bytea as e, $6::text[] as f, $7::jsonb as g`;
      expect(Object.values((await client.query(sql, values)).rows[0])).toEqual(values);
      for (let n = 0; n < 5; n++) {
        const named = { name: 'named', text: 'select $1::int * 2 as twice', values: [n] };
        expect((await client.query(named)).rows).toEqual([{ twice: 2 * n }]);
      }
    });
  });

  test('errors do not end the client', async () => {
    await connected(async (client) => {
      for (let round = 0; round < 5; round++) {
        expect(await sqlStateOf(client.query('select * from nowhere'))).toBe('42P01');
        expect(await sqlStateOf(client.query('select $1::int', ['x']))).toBe('22P02');
        expect((await client.query('select $1::int as n', [round])).rows).toEqual([{ n: round }]);
      }
    });
  });

  test('an error in a transaction, rolled back', async () => {
    await fillAccounts();
    await connected(async (client) => {
      await client.query('begin');
      await client.query('update accounts set balance = 0 where id = $1', [1]);
      expect(await sqlStateOf(client.query('select 1 / 0'))).toBe('22012');
      expect(await sqlStateOf(client.query('select 1'))).toBe('25P02');
      await client.query('rollback');
      const { rows } = await client.query('select balance from accounts where id = 1');
      expect(rows).toEqual([{ balance: 100 }]);
    });
  });

  test('50 clients that transfer money, on a pool of 4', async () => {
    await fillAccounts();
    const pool = new pg.Pool({ ...options(), max: 50 });
    const transfer = async (n: number) => {
      const client = await pool.connect();
      try {
        await client.query('begin');
        // In one order, so nobody waits for each other in a circle.
        const ids = [1 + (n % 20), 1 + ((n * 7 + 3) % 20)].sort((a, b) => a - b);
        await client.query('select 1 from accounts where id = any($1) order by id for update', [
          ids,
        ]);
        await client.query('update accounts set balance = balance - 1 where id = $1', [ids[0]]);
        await client.query('update accounts set balance = balance + 1 where id = $1', [ids[1]]);
        await client.query(n % 5 === 0 ? 'rollback' : 'commit');
      } finally {
        client.release();
      }
    };
    await Promise.all(Array.from({ length: 500 }, (_, n) => transfer(n)));
    expect(await pooledConnections(database())).toBeLessThanOrEqual(4);
    await pool.end();
    expect(await totalBalance()).toBe(2_000);
    await untilAllReturned(berth());
  });

  test('PG-50 named queries of 40 clients on a pool of 4, without a pin', async () => {
    await fillAccounts();
    const pins = await berth().metric('berth_session_pins_total');
    const pool = new pg.Pool({ ...options(), max: 40 });
    const ask = async (n: number) => {
      const number = n % 25;
      const { rows } = await pool.query({
        name: `query ${number}`,
        text: `select $1::int + ${number} as sum, id from accounts where id = $2`,
        values: [n, 1 + (n % 20)],
      });
      expect(rows).toEqual([{ sum: n + number, id: 1 + (n % 20) }]);
      if (n % 50 !== 0) return;
      const wrong = {
        name: `wrong ${n}`,
        text: 'select * from nowhere where id = $1',
        values: [n],
      };
      expect(await sqlStateOf(pool.query(wrong))).toBe('42P01');
    };
    await Promise.all(Array.from({ length: 2_000 }, (_, n) => ask(n)));
    await pool.end();
    expect(await berth().metric('berth_session_pins_total')).toBe(pins);
    expect(await pooledConnections(database())).toBeLessThanOrEqual(4);
    await untilAllReturned(berth());
  });

  test('every client gets its own rows', async () => {
    const pool = new pg.Pool({ ...options(), max: 50 });
    const ask = async (n: number) => {
      const { rows } = await pool.query('select $1::int as n, repeat($2, $1) as text', [
        n,
        String(n % 10),
      ]);
      expect(rows).toEqual([{ n, text: String(n % 10).repeat(n) }]);
    };
    await Promise.all(Array.from({ length: 1_000 }, (_, n) => ask(n)));
    await pool.end();
  });

  test('a statement is cancelled', async () => {
    const client = new pg.Client(options());
    await client.connect();
    const failed = sqlStateOf(client.query('select pg_sleep(61)'));
    await untilRunning(database(), 'pg_sleep(61)');
    const { processID, secretKey } = client as unknown as { processID: number; secretKey: number };
    const canceller = new pg.Client(options()) as unknown as {
      connection: {
        connect(port: number, host: string): void;
        on(event: string, then: () => void): void;
        cancel(pid: number, key: number): void;
      };
    };
    const { connection } = canceller;
    connection.on('connect', () => connection.cancel(processID, secretKey));
    connection.connect(berth().port, '127.0.0.1');
    expect(await within(failed, 'the cancelled statement')).toBe('57014');
    expect((await client.query('select 1 as one')).rows).toEqual([{ one: 1 }]);
    await client.end();
  });

  test('LISTEN and NOTIFY', async () => {
    await connected(async (client) => {
      const heard = Promise.withResolvers<string>();
      client.on('notification', ({ payload }) => heard.resolve(payload ?? ''));
      await client.query('listen pg_news');
      await adminQuery(database(), "notify pg_news, 'told'");
      expect(await within(heard.promise, 'a notification')).toBe('told');
    });
  });
});

describe('postgres', () => {
  function connect(settings: postgres.Options<Record<string, never>> = {}): postgres.Sql {
    return postgres({
      host: '127.0.0.1',
      port: berth().port,
      user: 'app',
      password: 'app-password',
      database: 'app',
      onnotice: () => undefined,
      ...settings,
    });
  }

  test.each([
    ['default settings: named statements', {}],
    ['without named statements', { prepare: false }],
  ])('%s', async (_name, settings) => {
    await fillAccounts();
    const pins = await berth().metric('berth_session_pins_total');
    const sql = connect({ ...settings, max: 20 });
    const numbers = await Promise.all(
      Array.from({ length: 300 }, async (_, n) => {
        const rows = await sql`select ${n}::int as n, ${'x'.repeat(n)} as text`;
        expect(rows[0]?.text).toHaveLength(n);
        return Number(rows[0]?.n);
      }),
    );
    expect(numbers).toEqual(Array.from({ length: 300 }, (_, n) => n));

    const outcome = await sql.begin(async (transaction) => {
      await transaction`update accounts set balance = balance - 10 where id = 1`;
      await transaction
        .savepoint(async (inner) => {
          await inner`update accounts set balance = 0`;
          await inner`select 1 / 0`;
        })
        .catch((error: { code: string }) => expect(error.code).toBe('22012'));
      await transaction`update accounts set balance = balance + 10 where id = 2`;
      return 'committed';
    });
    expect(outcome).toBe('committed');
    expect(await totalBalance()).toBe(2_000);
    const failed = sql.begin(async (transaction) => {
      await transaction`update accounts set balance = 0`;
      throw new Error('given up');
    });
    expect(await failed.catch((error: unknown) => String(error))).toBe('Error: given up');
    expect(await totalBalance()).toBe(2_000);

    const seen: number[] = [];
    await sql`select generate_series(1, 1000) as n`.cursor(64, (rows) => {
      seen.push(...rows.map((row) => Number(row.n)));
    });
    expect(seen).toHaveLength(1_000);
    await sql.end();
    expect(await berth().metric('berth_session_pins_total')).toBe(pins);
    expect(await pooledConnections(database())).toBeLessThanOrEqual(4);
    await untilAllReturned(berth());
  });

  test('COPY streams in and out', async () => {
    await adminQuery(database(), 'truncate accounts');
    const sql = connect({ max: 1 });
    const lines = Array.from({ length: 20_000 }, (_, n) => `${n}\t${n}\tnote ${n}\n`);
    await pipeline(Readable.from(lines), await sql`copy accounts from stdin`.writable());
    const chunks: Buffer[] = [];
    const source = await sql`copy (select * from accounts order by id) to stdout`.readable();
    for await (const chunk of source) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString() === lines.join('')).toBe(true);
    await sql.end();
  });

  test('LISTEN and NOTIFY', async () => {
    const sql = connect({ max: 1 });
    const heard = Promise.withResolvers<string>();
    const { unlisten } = await sql.listen('news', (payload) => heard.resolve(payload));
    await sql.notify('news', 'told');
    expect(await within(heard.promise, 'a notification')).toBe('told');
    await unlisten();
    await sql.end();
  });

  test('a query is cancelled', async () => {
    const sql = connect({ max: 1 });
    const sleep = sql`select pg_sleep(62)`.execute();
    const failed = sqlStateOf(sleep);
    await untilRunning(database(), 'pg_sleep(62)');
    sleep.cancel();
    expect(await within(failed, 'the cancelled statement')).toBe('57014');
    expect(await sql`select 1 as one`).toMatchObject([{ one: 1 }]);
    await sql.end();
  });
});

describe('pgbench', () => {
  beforeAll(async () => {
    if (Bun.which('pgbench') === null) return;
    await runProgram('pgbench', ['--initialize', '--quiet'], { port: database().port });
  }, START_DEADLINE_MS);

  for (const mode of ['simple', 'extended', 'prepared']) {
    testWith(
      'pgbench',
      `TPC-B, ${mode} protocol, 40 clients on a pool of 4: the books balance`,
      async () => {
        await adminQuery(database(), 'truncate pgbench_history');
        const pins = await berth().metric('berth_session_pins_total');
        const sums = `select (select sum(abalance) from pgbench_accounts) as accounts,
        (select sum(tbalance) from pgbench_tellers) as tellers,
        (select sum(bbalance) from pgbench_branches) as branches,
        (select coalesce(sum(delta), 0) from pgbench_history) as history,
        (select count(*) from pgbench_history) as count`;
        const [before] = await adminQuery(database(), sums);
        const args = [
          '--no-vacuum',
          `--protocol=${mode}`,
          '--client=40',
          // It prepares synchronously, and must not wait for clients of its own thread then.
          mode === 'prepared' ? '--jobs=40' : '--jobs=2',
          `--transactions=${TRANSACTIONS}`,
        ];
        const { code, stdout, stderr } = await runProgram('pgbench', args, { port: berth().port });
        expect({ code, stderr: stderr.replace(/pgbench \(.*\)\n/, '') }).toEqual({
          code: 0,
          stderr: '',
        });
        expect(stdout).toContain('number of failed transactions: 0');
        const [after] = await adminQuery(database(), sums);
        const moved = Number(after?.history);
        expect(after?.count).toBe(String(40 * TRANSACTIONS));
        for (const table of ['accounts', 'tellers', 'branches']) {
          expect(Number(after?.[table]) - Number(before?.[table])).toBe(moved);
        }
        expect(await pooledConnections(database())).toBeLessThanOrEqual(4);
        expect(await berth().metric('berth_session_pins_total')).toBe(pins);
        await untilAllReturned(berth());
      },
    );
  }

  testWith(
    'pgbench',
    'PG-54 pipelines of prepared statements, 40 clients on a pool of 4',
    async () => {
      const pins = await berth().metric('berth_session_pins_total');
      const folder = mkdtempSync(join(tmpdir(), 'berth-pgbench-'));
      const script = join(folder, 'script.sql');
      const queries = Array.from({ length: 30 }, (_, n) => `select :aid + ${n};\n`).join('');
      writeFileSync(
        script,
        `\\set aid random(1, 1000)\n\\startpipeline\n${queries}\\endpipeline\n`,
      );
      const args = ['--no-vacuum', '--protocol=prepared', '--client=40', '--jobs=40'];
      const { code, stdout } = await runProgram(
        'pgbench',
        [...args, `--transactions=${TRANSACTIONS}`, `--file=${script}`],
        { port: berth().port },
      );
      rmSync(folder, { recursive: true });
      expect({ code, isClean: stdout.includes('failed transactions: 0') }).toEqual({
        code: 0,
        isClean: true,
      });
      expect(await berth().metric('berth_session_pins_total')).toBe(pins);
      await untilAllReturned(berth());
    },
  );
});
