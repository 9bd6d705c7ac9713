/**
 * What is larger than every buffer: results that are not read, statements and parameters of 20 MB, COPY
 * into a database that does not read. The proxy's memory stays as it is, and others go on working.
 */

import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { openTransactions } from '../faults/activity.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(30_000);

const { bind, copyData, copyDone, describe: describeMessage } = frontend;
const { execute, parse, query, sync } = frontend;

const MiB = 1024 * 1024;
const GROWTH_MAX = 32 * MiB;
const LARGE = 20_000_000;

const database = usePostgres();
const one = useBerth(() => ({ database: database(), pool: { MaxConnections: 1 } }));
const two = useBerth(() => ({ database: database(), pool: { MaxConnections: 2 } }));

beforeAll(async () => {
  await adminQuery(
    database(),
    `create table sink (line text);
     create table slow_sink (line text);
     create function wait() returns trigger language plpgsql as $$
       begin perform pg_advisory_xact_lock_shared(99); return new; end $$;
     create trigger wait before insert on slow_sink for each row execute function wait();
     alter table sink owner to app; alter table slow_sink owner to app`,
  );
}, START_DEADLINE_MS);

/** The process has grown to what it needs anyway. */
beforeEach(async () => {
  for (const berth of [one(), two()]) {
    using client = await berth.login();
    await client.query("select repeat('x', 1000) from generate_series(1, 10000)");
    await untilAllReturned(berth);
  }
});

/** `use` must not let the process grow, at any moment that `use` looks at. */
function growthWatch(residentBytes: () => number): () => void {
  const before = residentBytes();
  return () => expect(residentBytes() - before).toBeLessThan(GROWTH_MAX);
}

/** The database waits for its client to read, so everything between them is full. */
async function untilDatabaseWaits(): Promise<void> {
  const sql = `select 1 from pg_stat_activity
    where usename = 'app' and state = 'active' and wait_event = 'ClientWrite'`;
  const look = async () => ((await adminQuery(database(), sql)).length > 0 ? true : undefined);
  await eventually(look, 'the database to wait for its client');
}

async function untilNothingRuns(): Promise<void> {
  const look = async () => ((await openTransactions(database())) === 0 ? true : undefined);
  await eventually(look, 'no statement of a client');
}

/** 64 MB, in the ways in which they may come. */
const RESULTS: readonly [name: string, messages: readonly Buffer[]][] = [
  ['many rows', [query("select repeat('x', 1000) from generate_series(1, 64000)")]],
  ['one row', [query("select repeat('x', 64000000)")]],
  [
    'an extended query',
    [
      parse('', "select repeat('x', 64000) from generate_series(1, 1000)"),
      bind(),
      execute(),
      sync(),
    ],
  ],
  ['COPY OUT', [query("copy (select repeat('x', 1000) from generate_series(1, 64000)) to stdout")]],
  ['a pipeline', Array.from({ length: 64 }, () => query("select repeat('x', 1000000)"))],
];

describe('PG-30 a client that stops reading a result of 64 MB', () => {
  test.each([...RESULTS])('%s: the proxy does not grow, others go on', async (_name, messages) => {
    using stalled = await two().login();
    const expectNoGrowth = growthWatch(() => two().residentBytes());
    stalled.pause();
    stalled.send(...messages);
    await untilDatabaseWaits();
    expectNoGrowth();
    for (let n = 0; n < 20; n++) {
      using other = await two().login();
      expect(textRows(await other.query(`select ${n}`))).toEqual([[String(n)]]);
    }
    expectNoGrowth();
    // When it reads again it gets everything.
    stalled.resume();
    const ready = messages.filter((message) => message[0] === 0x51 || message[0] === 0x53).length;
    const answers = await stalled.untilReady(ready);
    const bytes = answers
      .filter(({ type }) => type === 'D' || type === 'd')
      .reduce((sum, { body }) => sum + body.length, 0);
    expect(bytes).toBeGreaterThanOrEqual(64_000_000);
    expectNoGrowth();
    await untilAllReturned(two());
  });

  test.each(['destroy', 'reset'] as const)(
    'and then goes by %s: its statement ends',
    async (way) => {
      for (const [, messages] of RESULTS) {
        const stalled = await two().login();
        stalled.pause();
        stalled.send(...messages);
        await untilDatabaseWaits();
        stalled[way]();
        await untilAllReturned(two());
        await untilNothingRuns();
      }
      using next = await two().login();
      expect(textRows(await next.query("select 'served'"))).toEqual([['served']]);
    },
  );

  test('ten of them that come and go do not add up', async () => {
    const expectNoGrowth = growthWatch(() => two().residentBytes());
    for (let n = 0; n < 10; n++) {
      using stalled = await two().login();
      stalled.pause();
      stalled.send(query("select repeat('x', 1000) from generate_series(1, 64000)"));
      await untilDatabaseWaits();
      stalled.reset();
      await untilAllReturned(two());
      // Or the next round would look at a statement that is being cancelled.
      await untilNothingRuns();
    }
    expectNoGrowth();
  });
});

describe('PG-30 a database that does not read', () => {
  test('a COPY of 100 MB waits in the client', async () => {
    const { port, socketDirectory } = database();
    using blocker = await RawClient.login(
      { port, socketDirectory },
      { user: 'postgres', database: 'app' },
    );
    await blocker.query('select pg_advisory_lock(99)');
    using client = await two().login();
    client.send(query('copy slow_sink from stdin'));
    await client.until('G');
    const expectNoGrowth = growthWatch(() => two().residentBytes());
    const chunk = copyData(`${'x'.repeat(49_999)}\n`.repeat(20));
    for (let n = 0; n < 100; n++) client.send(chunk);
    client.send(copyDone());
    await eventually(async () => {
      const sql =
        "select 1 from pg_stat_activity where wait_event = 'advisory' and query like 'copy%'";
      return (await adminQuery(database(), sql)).length === 1 ? true : undefined;
    }, 'the COPY to wait for the lock');
    using other = await two().login();
    for (let n = 0; n < 50; n++) await other.query('select 1');
    expect(client.socket.writableLength).toBeGreaterThan(50_000_000);
    expectNoGrowth();
    await blocker.query('select pg_advisory_unlock(99)');
    expect(sqlStates(await client.untilReady())).toEqual([]);
    expectNoGrowth();
    expect(await adminQuery(database(), 'select count(*) as n from slow_sink')).toEqual([
      { n: '2000' },
    ]);
  });

  test('a COPY of 128 MB flows through', async () => {
    using client = await one().login();
    client.send(query('copy sink from stdin'));
    await client.until('G');
    const expectNoGrowth = growthWatch(() => one().residentBytes());
    const chunk = copyData(`${'y'.repeat(999_999)}\n`.repeat(8));
    for (let n = 0; n < 16; n++) {
      await new Promise<void>((resolve) => client.socket.write(chunk, () => resolve()));
      expectNoGrowth();
    }
    client.send(copyDone());
    expect(sqlStates(await client.untilReady())).toEqual([]);
    expect(await adminQuery(database(), 'select count(*) as n from sink')).toEqual([{ n: '128' }]);
    await adminQuery(database(), 'truncate sink');
  });
});

describe('large statements and parameters', () => {
  const text = 'z'.repeat(LARGE);
  const STATEMENTS: readonly [name: string, messages: readonly Buffer[]][] = [
    ['Query', [query(`select length('${text}')`)]],
    [
      'Parse',
      [parse('', `select length('${text}')`), bind(), describeMessage('portal'), execute(), sync()],
    ],
    ['Bind', [parse('', 'select length($1)'), bind({ parameters: [text] }), execute(), sync()]],
    ['FunctionCall', [frontend.functionCall(1317, [text])]],
  ];

  test.each([...STATEMENTS])('20 MB in a %s, in one piece and in many', async (name, messages) => {
    const bytes = Buffer.concat([...messages, query("select 'after'")]);
    one().expectLog(({ reason }) => reason === 'large_statement');
    const expectNoGrowth = growthWatch(() => one().residentBytes());
    for (const lengths of [[bytes.length], [1, 4, 1, 100_000], [7, 262_143, 1, 1, 65_536]]) {
      using client = await one().login();
      await client.sendSplit(bytes, lengths[0] ?? 1, ...lengths.slice(1));
      const answers = await client.untilReady(2);
      expect(sqlStates(answers)).toEqual([]);
      const rows = textRows(answers).map(([value]) => value);
      if (name === 'FunctionCall') {
        expect(answers.find(({ type }) => type === 'V')?.body.toString()).toContain(String(LARGE));
      } else {
        expect(rows[0]).toBe(String(LARGE));
      }
      expect(rows.at(-1)).toBe('after');
      expectNoGrowth();
      await client.end();
      await untilAllReturned(one());
    }
  });

  test('a large Bind finds its own unnamed statement, wherever it is cut', async () => {
    using client = await one().login();
    using other = await one().login();
    const large = Buffer.concat([bind({ parameters: ['p'.repeat(400_000)] }), execute(), sync()]);
    client.send(parse('', 'select length($1) as mine'), sync());
    await client.untilReady();
    for (let first = 1; first <= 8; first++) {
      other.send(parse('', "select 'of another client', $1::text"), sync());
      await other.untilReady();
      await client.sendSplit(large, first, large.length);
      expect(textRows(await client.untilReady())).toEqual([['400000']]);
    }
  });

  describe('PG-37 what is behind a comment of 1 MB still pins', () => {
    const comment = `/* ${'c'.repeat(1_000_000)} */`;
    const CASES: readonly [reason: string, messages: readonly Buffer[]][] = [
      ['temporary_object', [query(`${comment} create temp table hidden (id int)`)]],
      ['set', [query(`select 1; -- ${'c'.repeat(1_000_000)}\n set work_mem = '5MB'`)]],
      ['listen', [query(`listen hidden; ${comment}`)]],
      [
        'large_statement',
        [parse('', `${comment} create temp table hidden (id int)`), bind(), execute(), sync()],
      ],
    ];
    test.each([...CASES])('%s', async (reason, messages) => {
      one().expectLog('session.pinned');
      using client = await one().login();
      const before = await one().metric('berth_session_pins_total', { reason });
      client.send(...messages);
      expect(sqlStates(await client.untilReady())).toEqual([]);
      await untilMetric(one(), 'berth_session_pins_total', before + 1, { reason });
      await client.end();
      using next = await one().login();
      const sql = "select to_regclass('hidden'), current_setting('work_mem')";
      expect(textRows(await next.query(sql))).toEqual([[null, '4MB']]);
    });

    test('and what is in a string or a comment of 1 MB does not', async () => {
      const before = await one().metric('berth_session_pins_total');
      using client = await one().login();
      const inside = `${'c'.repeat(1_000_000)} create temp table hidden (id int); listen x`;
      for (const sql of [
        `select length('${inside}')`,
        `/* ${inside} */ select 1`,
        `select $x$${inside}$x$ = ''`,
      ]) {
        expect(sqlStates(await client.query(sql))).toEqual([]);
      }
      expect(await one().metric('berth_session_pins_total')).toBe(before);
      await untilMetric(one(), 'database_connections_currently_session_pinned', 0);
    });
  });
});
