/**
 * Clients and databases that go away in every state. Afterwards no transaction and no lock is left on
 * the database, no connection is lost to the pool, and the pool serves.
 */

import { beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { backendPid, reachedAt, untilRunning } from '../faults/activity.ts';
import { errorFields, formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import {
  fields,
  parameterStatus,
  ScriptedDatabase,
  selected,
  welcome,
} from '../harness/scripted-database.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(20_000);

const { bind, copyData, copyDone, execute, flush, parse, query, sync } = frontend;

const database = usePostgres();
const one = useBerth(() => ({ database: database(), pool: { MaxConnections: 1 } }));
const four = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

beforeAll(async () => {
  await adminQuery(
    database(),
    `create table stock (id int primary key, amount int);
     insert into stock select n, 0 from generate_series(1, 10) n;
     alter table stock owner to app`,
  );
}, START_DEADLINE_MS);

beforeEach(async () => {
  await adminQuery(database(), 'update stock set amount = 0');
});

/** The ends of connections that this file is about. */
function announceEnds(...reasons: readonly string[]): void {
  for (const berth of [one(), four()]) {
    berth.expectLog(
      ({ event, reason }) => event.endsWith('.closed') && reasons.includes(String(reason)),
    );
  }
}

const OURS = "usename = 'app' and application_name <> 'berth-monitor'";

/** Nothing of any client is left on the database. */
async function untilClean(): Promise<void> {
  const sql = `select
    (select count(*) from pg_stat_activity where ${OURS} and (state <> 'idle' or xact_start is not null)) as busy,
    (select count(*) from pg_locks l join pg_stat_activity a using (pid) where ${OURS}) as locks,
    (select count(*) from pg_prepared_xacts) as prepared`;
  await eventually(async () => {
    const [row] = await adminQuery(database(), sql);
    return row?.busy === '0' && row.locks === '0' && row.prepared === '0' ? true : undefined;
  }, 'no transaction and no lock of a client');
}

/** The database and the proxy agree on how many connections there are, and they are not too many. */
async function untilCounted(): Promise<void> {
  await eventually(async () => {
    const [row] = await adminQuery(
      database(),
      `select count(*) as n from pg_stat_activity where ${OURS}`,
    );
    const counts = [one(), four()].map((berth) => berth.metric('database_connections'));
    const known = (await Promise.all(counts)).reduce((sum, count) => sum + count, 0);
    return Number(row?.n) === known ? true : undefined;
  }, 'as many connections in the proxy as in the database');
}

/** Every connection that the pool may have serves a client, all at once. */
async function serves(berth: Berth, size: number): Promise<void> {
  const clients = await Promise.all(Array.from({ length: size }, () => berth.login()));
  for (const client of clients) {
    client.send(query('begin'), query("select pg_backend_pid(), 'served'"));
  }
  const answers = await Promise.all(clients.map((client) => client.untilReady(2)));
  expect(new Set(answers.map((answer) => textRows(answer)[0]?.[0])).size).toBe(size);
  await Promise.all(clients.map((client) => client.query('commit')));
  await Promise.all(clients.map((client) => client.end()));
}

async function amounts(): Promise<string> {
  const [row] = await adminQuery(database(), 'select sum(amount) as sum from stock');
  return row?.sum ?? '';
}

/** How a client goes. */
const WAYS = ['destroy', 'reset', 'terminate'] as const;
type Way = (typeof WAYS)[number];

function leave(client: RawClient, way: Way): void {
  if (way === 'destroy') client.destroy();
  else if (way === 'reset') client.reset();
  else client.socket.end(frontend.terminate());
  // Who says goodbye reads until the end; who does not read has not gone.
  if (way === 'terminate') client.resume();
}

const UPDATE = 'update stock set amount = amount + 1';
const SLOW_UPDATE = `with slept as (select pg_sleep(60)) ${UPDATE} from slept`;

type State = (client: RawClient, berth: Berth) => Promise<unknown>;

/** The states that a client can be in, and how it gets there. Each would change something. */
const STATES: readonly [name: string, enter: State][] = [
  ['idle', (client) => client.query('select 1')],
  ['before its first query', async () => undefined],
  [
    'mid query',
    async (client) => {
      client.send(query(SLOW_UPDATE));
      await untilRunning(database(), 'pg_sleep(60)');
    },
  ],
  [
    'mid query, with more behind it',
    async (client) => {
      // What a server has read of a client that is gone, it still does.
      client.send(
        query(SLOW_UPDATE),
        query('select 1'),
        parse('', 'select 2'),
        bind(),
        execute(),
        sync(),
      );
      await untilRunning(database(), 'pg_sleep(60)');
    },
  ],
  [
    'mid extended query',
    async (client) => {
      client.send(parse('', SLOW_UPDATE), bind(), execute(), sync());
      await untilRunning(database(), 'pg_sleep(60)');
    },
  ],
  [
    'mid extended query, before its Sync',
    async (client) => {
      client.send(parse('', SLOW_UPDATE), bind(), execute(), flush());
      await untilRunning(database(), 'pg_sleep(60)');
    },
  ],
  ['mid transaction', (client) => client.query(`begin; ${UPDATE}`)],
  [
    'mid query in a transaction',
    async (client) => {
      await client.query(`begin; ${UPDATE}`);
      client.send(query(SLOW_UPDATE));
      await untilRunning(database(), 'pg_sleep(60)');
    },
  ],
  ['in a failed transaction', (client) => client.query(`begin; ${UPDATE}; select 1 / 0`)],
  [
    'after half of a message',
    async (client) => {
      await client.query(`begin; ${UPDATE}`);
      client.send(query(UPDATE).subarray(0, 20));
    },
  ],
  ['after half of a header', async (client) => client.send(query(UPDATE).subarray(0, 3))],
  [
    'after half of a large statement',
    async (client, berth) => {
      const large = query(`${UPDATE} /* ${'x'.repeat(2_000_000)} */`);
      client.send(large.subarray(0, 1_500_000));
      await untilMetric(berth, 'database_connections_currently_borrowed', 1);
    },
  ],
  [
    'after Parse, before Bind',
    async (client) => {
      client.send(parse('', UPDATE), flush());
      await client.until('1');
    },
  ],
  [
    'after Bind, before Sync',
    async (client) => {
      client.send(parse('', UPDATE), bind(), flush());
      await client.until('2');
    },
  ],
  [
    'after Execute, before Sync',
    async (client) => {
      client.send(parse('', UPDATE), bind(), execute(), flush());
      await client.until('C');
    },
  ],
  [
    'after an error, before Sync',
    async (client) => {
      client.send(parse('', UPDATE), bind(), execute(), execute('nowhere'));
      await client.until('E');
    },
  ],
  [
    'with an open portal',
    async (client) => {
      await client.query(`begin; ${UPDATE}`);
      client.send(
        parse('', 'select generate_series(1, 9)'),
        bind({ portal: 'p' }),
        execute('p', 2),
        sync(),
      );
      await client.untilReady();
    },
  ],
  [
    'during COPY IN',
    async (client) => {
      client.send(query('copy stock from stdin'));
      await client.until('G');
      client.send(copyData('100\t1\n'));
    },
  ],
  [
    'during COPY IN in a transaction',
    async (client) => {
      await client.query(`begin; ${UPDATE}`);
      client.send(parse('', 'copy stock from stdin'), bind(), execute(), flush());
      await client.until('G');
      client.send(copyData('100\t1\n'));
    },
  ],
  [
    'during COPY IN after an early Sync',
    async (client) => {
      client.send(parse('', 'copy stock from stdin'), bind(), execute(), sync());
      await client.until('G');
    },
  ],
  [
    'in the middle of a CopyData',
    async (client) => {
      client.send(query('copy stock from stdin'));
      await client.until('G');
      client.send(copyData('100\t1\n'.repeat(10_000)).subarray(0, 30_000));
    },
  ],
  [
    'during COPY OUT',
    async (client) => {
      await client.query(`begin; ${UPDATE}`);
      client.pause();
      client.send(
        query("copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout"),
      );
      await untilRunning(database(), 'to stdout');
    },
  ],
  [
    'in the middle of a large result',
    async (client) => {
      await client.query(`begin; ${UPDATE}`);
      client.pause();
      client.send(query("select repeat('x', 1000) from generate_series(1, 100000)"));
      await untilRunning(database(), 'generate_series(1, 100000)');
    },
  ],
  [
    'in the middle of a large row',
    async (client) => {
      client.pause();
      client.send(query("select repeat('x', 60000000)"));
      await untilRunning(database(), '60000000');
    },
  ],
  ['with an open subtransaction', (client) => client.query(`begin; savepoint a; ${UPDATE}`)],
];

/** A request of which the database has a part, or more data than it is worth to read. */
const CUT = /half of a large|middle of a CopyData/;

describe.each([
  ['a pool of 1', one, 'destroy'],
  ['a pool of 1', one, 'reset'],
  ['a pool of 1', one, 'terminate'],
  ['a pool of 4', four, 'reset'],
] as const)('PG-29 a client of %s goes', (_name, berth, way) => {
  test.each([...STATES])(`by ${way}: %s`, async (state, enter) => {
    if (CUT.test(state)) announceEnds('client_gone_in_request');
    if (state.includes('early Sync')) announceEnds('reset_failed');
    using client = await berth().login();
    await enter(client, berth());
    leave(client, way);
    await untilAllReturned(berth());
    await untilMetric(berth(), 'client_connections', 0);
    await untilClean();
    expect(await amounts()).toBe('0');
    await untilCounted();
    await serves(berth(), berth === one ? 1 : 4);
  });
});

describe('PG-29 a client that waits in the queue goes', () => {
  test.each([...WAYS])('by %s', async (way) => {
    using holder = await one().login();
    await holder.query('begin');
    const waiter = await one().login();
    using next = await one().login();
    waiter.send(query(UPDATE), parse('', `${UPDATE} -- ${'x'.repeat(100_000)}`), bind(), execute());
    await untilMetric(one(), 'berth_borrow_queue_depth', 1);
    next.send(query("select 'served'"));
    await untilMetric(one(), 'berth_borrow_queue_depth', 2);
    leave(waiter, way);
    if (way === 'terminate') await one().untilLogged('client.connected');
    else await untilMetric(one(), 'berth_borrow_queue_depth', 1);
    await holder.query('commit');
    expect(textRows(await next.untilReady())).toEqual([['served']]);
    await untilAllReturned(one());
    await untilClean();
    // A client that says goodbye is owed what it asked for first.
    if (way !== 'terminate') expect(await amounts()).toBe('0');
  });

  test('in the moment in which it is served', async () => {
    for (let round = 0; round < 30; round++) {
      using holder = await one().login();
      await holder.query('begin');
      const waiter = await one().login();
      waiter.send(query(`begin; ${UPDATE}`));
      await untilMetric(one(), 'berth_borrow_queue_depth', 1);
      holder.send(query('commit'));
      leave(waiter, round % 2 === 0 ? 'destroy' : 'reset');
      await holder.untilReady();
    }
    await untilAllReturned(one());
    await untilClean();
    expect(await amounts()).toBe('0');
    await serves(one(), 1);
  });
});

test('PG-29 a client goes while the connection it waits for is being reset', async () => {
  one().expectLog('session.pinned');
  const pinned = await one().login();
  await pinned.query('create temp table kept (id int)');
  const [row] = await adminQuery(
    database(),
    "select relnamespace::regnamespace::text as schema from pg_class where relname = 'kept'",
  );
  // DISCARD ALL must wait for this.
  const login = { user: 'postgres', database: 'app' };
  const { port, socketDirectory } = database();
  using blocker = await RawClient.login({ port, socketDirectory }, login);
  const lock = `begin; lock table ${row?.schema}.kept in access share mode`;
  expect(sqlStates(await blocker.query(lock))).toEqual([]);
  pinned.destroy();
  await untilRunning(database(), 'DISCARD ALL');
  const waiter = await one().login();
  using next = await one().login();
  waiter.send(query(UPDATE));
  await untilMetric(one(), 'berth_borrow_queue_depth', 1);
  waiter.destroy();
  await untilMetric(one(), 'berth_borrow_queue_depth', 0);
  next.send(query("select to_regclass('kept')"));
  await blocker.query('rollback');
  expect(textRows(await next.untilReady())).toEqual([[null]]);
  await untilAllReturned(one());
  await untilClean();
  expect(await amounts()).toBe('0');
});

describe('PG-31 the database ends a connection', () => {
  async function terminate(pid: string): Promise<void> {
    await adminQuery(database(), `select pg_terminate_backend(${pid}, 5000)`);
  }

  beforeAll(() => {
    announceEnds('database_closed', 'database_lost');
    for (const berth of [one(), four()]) berth.expectLog('session.interrupted');
  });

  /** What the client gets next is one error, and it goes on. */
  async function expectInterruption(
    client: RawClient,
    status: 'I' | 'E',
    detail = 'Whether the request has taken effect is not known',
  ): Promise<void> {
    const told = await client.untilReady();
    const errors = told.filter(({ type }) => type === 'E');
    expect(sqlStates(errors)).toEqual(['57P01']);
    const [fields] = errors.map(errorFields);
    expect([fields?.get('S'), fields?.get('V')]).toEqual(['ERROR', 'ERROR']);
    expect(fields?.get('D')).toContain(detail);
    expect(told.at(-1) && formatMessage(told[told.length - 1])).toBe(`ReadyForQuery ${status}`);
  }

  /** It is a failed transaction, as any other. */
  async function expectFailedUntil(client: RawClient, end: string): Promise<void> {
    expect(sqlStates(await client.query('select 1'))).toEqual(['25P02']);
    expect(sqlStates(await client.query('rollback to savepoint s'))).toEqual(['3B001']);
    const ended = await client.query(end);
    expect(ended.map(formatMessage)).toEqual(['CommandComplete ROLLBACK', 'ReadyForQuery I']);
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  }

  /** The client is told once, then closed. */
  async function expectOneError(client: RawClient, sqlState: string): Promise<void> {
    await client.untilClosed();
    const errors = client.received.filter(({ type }) => type === 'E');
    expect(sqlStates(errors)).toEqual([sqlState]);
    expect(errors.map((error) => errorFields(error).get('S'))).toEqual(['FATAL']);
    expect(client.received.at(-1)?.type).toBe('E');
  }

  test('an idle one in the pool: nobody notices', async () => {
    using client = await one().login();
    for (let round = 0; round < 5; round++) {
      const { length } = one().logged('connection.closed');
      const pid = await backendPid(client);
      await terminate(pid);
      await one().untilLogged('connection.closed', length + 1);
      const next = await backendPid(client);
      expect(next).not.toBe(pid);
    }
    await untilCounted();
  });

  test('all idle ones of a pool at once', async () => {
    await serves(four(), 4);
    const { length } = four().logged('connection.closed');
    await adminQuery(
      database(),
      `select pg_terminate_backend(pid, 5000) from pg_stat_activity where ${OURS}`,
    );
    await four().untilLogged('connection.closed', length + 4);
    await serves(four(), 4);
    await untilCounted();
  });

  test.each(['rollback', 'commit'])('in an open transaction, which ends with %s', async (end) => {
    using client = await one().login();
    await client.query(`begin; savepoint s; ${UPDATE}`);
    await terminate(await backendPid(client));
    client.send(query('select 1'));
    await expectInterruption(client, 'E', 'The transaction was rolled back.');
    await expectFailedUntil(client, end);
    expect(await amounts()).toBe('0');
    await serves(one(), 1);
  });

  test('in a failed transaction: nobody needs to be told', async () => {
    using client = await one().login();
    const pid = await backendPid(client);
    await client.query('begin');
    expect(sqlStates(await client.query('select 1 / 0'))).toEqual(['22012']);
    await terminate(pid);
    await expectFailedUntil(client, 'rollback');
  });

  test.each([
    ['a simple query', (sql: string) => [query(sql)]],
    ['an extended query', (sql: string) => [parse('', sql), bind(), execute(), sync()]],
  ])('in an open transaction that is then ended with %s', async (_what, asked) => {
    using client = await one().login();
    await client.query(`begin; ${UPDATE}`);
    await terminate(await backendPid(client));
    client.send(...asked('ROLLBACK'));
    expect(sqlStates(await client.untilReady())).toEqual([]);
    await client.query(`begin; ${UPDATE}`);
    await terminate(await backendPid(client));
    client.send(...asked(' /* app */ COMMIT ;'));
    await expectInterruption(client, 'I', 'The transaction was rolled back.');
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    expect(await amounts()).toBe('0');
  });

  test.each([
    ['a simple query', [query(SLOW_UPDATE)], 'I'],
    ['an extended query', [parse('', SLOW_UPDATE), bind(), execute(), sync()], 'I'],
    ['one that begins a transaction', [query('begin'), query(SLOW_UPDATE)], 'E'],
  ] as const)('that runs %s', async (_what, messages, status) => {
    using client = await one().login();
    await client.query('select 1');
    client.send(...messages);
    if (messages.length === 2) await client.untilReady();
    const pid = await untilRunning(database(), 'pg_sleep(60)');
    await terminate(pid);
    await expectInterruption(client, status);
    if (status === 'E') await expectFailedUntil(client, 'rollback');
    expect(await amounts()).toBe('0');
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  });

  test('that runs a pipeline: an error for each request, and a ReadyForQuery for each', async () => {
    using client = await one().login();
    const extended = [parse('', UPDATE), bind(), execute(), sync()];
    client.send(query(SLOW_UPDATE), query(UPDATE), sync(), ...extended, query(UPDATE));
    const pid = await untilRunning(database(), 'pg_sleep(60)');
    await terminate(pid);
    const told = await client.untilReady(5);
    expect(told.map(({ type }) => type).join('')).toBe('EZEZZEZEZ');
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    expect(await amounts()).toBe('0');
  });

  test('that runs a batch which goes on after the error: the rest of it is skipped', async () => {
    using client = await one().login();
    client.send(parse('', SLOW_UPDATE), bind(), execute(), flush());
    const pid = await untilRunning(database(), 'pg_sleep(60)');
    await terminate(pid);
    expect(sqlStates(await client.until('E'))).toEqual(['57P01']);
    client.send(parse('', UPDATE), bind(), execute(), sync());
    expect((await client.untilReady()).map(formatMessage)).toEqual(['ReadyForQuery I']);
    expect(await amounts()).toBe('0');
  });

  test('in the middle of a batch in which nothing runs: the error is for the next message', async () => {
    using client = await one().login();
    client.send(parse('', `${UPDATE} returning pg_backend_pid()`), bind(), execute(), flush());
    const [row] = textRows(await client.until('C'));
    await terminate(row?.[0] ?? '');
    client.send(sync());
    await expectInterruption(client, 'I');
    expect(await amounts()).toBe('0');
  });

  test('whose client has prepared a statement, and settings: both are there again', async () => {
    using client = await one().login();
    await client.query("set work_mem = '5MB'");
    const sql = "select current_setting('work_mem'), pg_backend_pid()";
    client.send(parse('mine', sql), parse('later', 'select 7'), sync());
    await client.untilReady();
    await client.query('begin');
    await terminate(await backendPid(client));
    const execution = [bind({ statement: 'mine' }), execute(), sync()];
    client.send(...execution);
    await expectInterruption(client, 'E', 'The transaction was rolled back.');
    client.send(...execution);
    expect(sqlStates(await client.untilReady())).toEqual(['25P02']);
    await client.query('rollback');
    client.send(...execution);
    expect(textRows(await client.untilReady())[0]?.[0]).toBe('5MB');
    client.send(bind({ statement: 'later' }), execute(), sync());
    expect(textRows(await client.untilReady())).toEqual([['7']]);
  });

  test('whose client was told of a statement that was prepared, and not of another', async () => {
    using client = await one().login();
    client.send(parse('told', 'select 1'), sync());
    await client.untilReady();
    client.send(query(SLOW_UPDATE), parse('lost', 'select 2'), sync());
    await terminate(await untilRunning(database(), 'pg_sleep(60)'));
    expect((await client.untilReady(2)).map(({ type }) => type).join('')).toBe('EZEZ');
    client.send(bind({ statement: 'told' }), execute(), sync());
    expect(textRows(await client.untilReady())).toEqual([['1']]);
    client.send(bind({ statement: 'lost' }), execute(), sync());
    expect(sqlStates(await client.untilReady())).toEqual(['26000']);
  });

  test.each([
    ['a simple query', [query('copy stock from stdin')]],
    ['an extended query', [parse('', 'copy stock from stdin'), bind(), execute(), sync()]],
  ] as const)('during COPY IN of %s', async (_what, messages) => {
    using client = await one().login();
    const pid = await backendPid(client);
    client.send(...messages);
    await client.until('G');
    client.send(copyData('200\t1\n'));
    await terminate(pid);
    await expectInterruption(client, 'I');
    client.send(copyData('201\t1\n'), copyDone());
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
    expect(await amounts()).toBe('0');
  });

  test('in the middle of a result that is not read', async () => {
    using client = await one().login();
    client.pause();
    client.send(query("select repeat('x', 1000) from generate_series(1, 100000)"));
    const pid = await untilRunning(database(), 'generate_series(1, 100000)');
    await terminate(pid);
    client.resume();
    // PostgreSQL says nothing when it dies while its socket is full, and may leave half a row.
    await Promise.race([client.untilClosed(), client.until('E')]);
    const errors = client.received.filter(({ type }) => type === 'E');
    expect(errors.length).toBeLessThanOrEqual(1);
    expect(sqlStates(errors).every((state) => state === '57P01' || state === '08006')).toBe(true);
    await serves(one(), 1);
  });

  test('that is pinned and idle', async () => {
    one().expectLog('session.pinned');
    using client = await one().login();
    await client.query('create temp table mine (id int)');
    await terminate(await backendPid(client));
    await expectOneError(client, '57P01');
    await serves(one(), 1);
  });

  test('because its transaction was idle for too long', async () => {
    using client = await one().login();
    const { length } = one().logged('connection.closed');
    await client.query("begin; set local idle_in_transaction_session_timeout = '20ms'");
    await one().untilLogged('connection.closed', length + 1);
    expect(sqlStates(await client.query('select 1'))).toEqual(['25P03']);
    await expectFailedUntil(client, 'rollback');
  });

  test('with a client in the queue: it gets the next one', async () => {
    using holder = await one().login();
    await holder.query('begin');
    const pid = await backendPid(holder);
    using waiter = await one().login();
    waiter.send(query("select 'served'"));
    await untilMetric(one(), 'berth_borrow_queue_depth', 1);
    await terminate(pid);
    expect(textRows(await waiter.untilReady())).toEqual([['served']]);
    holder.send(query('select 1'));
    await expectInterruption(holder, 'E', 'The transaction was rolled back.');
    await expectFailedUntil(holder, 'commit');
  });

  test('whose state nobody can restore: the client is closed', async () => {
    one().expectLog('session.pinned');
    const untold: readonly (readonly [string, ...string[]])[] = [
      ['select pg_advisory_lock(1)'],
      ['begin', 'select pg_advisory_lock(1)'],
      ['begin', 'prepare mine as select 1'],
      ['create temp table mine (id int)'],
    ];
    for (const texts of untold) {
      using client = await one().login();
      for (const text of texts) await client.query(text);
      await terminate(await backendPid(client));
      await expectOneError(client, '57P01');
    }
    await serves(one(), 1);
  });

  test('with state that goes with its transaction: the client goes on', async () => {
    using client = await one().login();
    for (const text of ["set work_mem = '5MB'", 'create temp table mine (id int)']) {
      await client.query('begin');
      await client.query(text);
      await terminate(await backendPid(client));
      client.send(query('select 1'));
      await expectInterruption(client, 'E', 'The transaction was rolled back.');
      await client.query('rollback');
    }
    expect(textRows(await client.query('show work_mem'))).toEqual([['4MB']]);
  });
});

describe('PG-31, PG-32 a database that says exactly this', () => {
  const ROW_DESCRIPTION = selected(['x'])[0] ?? Buffer.alloc(0);
  const ROW = selected(['x'])[1] ?? Buffer.alloc(0);
  const LONG_ROW = frontend.message(
    'D',
    frontend.int16(1),
    frontend.int32(5000),
    Buffer.alloc(5_000),
  );

  /** What the last client of `answered` was sent. */
  let bytes: Buffer[] = [];

  /** What the client gets when the database sends this in answer to a query, and closes. */
  async function answered(...sent: readonly Uint8Array[]): Promise<RawClient> {
    bytes = [];
    await using scripted = await ScriptedDatabase.start(async (session) => {
      session.send(...welcome());
      await session.until('Q');
      session.send(...sent);
      session.end();
    });
    await using berth = await Berth.start({
      database: database(),
      pool: { MaxConnections: 1 },
      file: reachedAt(scripted.port),
      expect: ['connection.closed', 'client.closed', 'session.interrupted'],
    });
    const client = await berth.login();
    client.socket.on('data', (chunk: Buffer) => bytes.push(chunk));
    client.send(query('select 1'));
    const isClosed = client.untilClosed();
    await Promise.race([isClosed, client.untilReady().catch(() => isClosed)]);
    await untilMetric(berth, 'database_connections_currently_borrowed', 0);
    client.destroy();
    await isClosed;
    return client;
  }

  test('nothing at all: one error', async () => {
    const client = await answered();
    expect(client.received.at(-2)?.type).toBe('E');
    expect(sqlStates(client.received)).toEqual(['08006']);
  });

  test('some rows: they come, then one error', async () => {
    const client = await answered(ROW_DESCRIPTION, ROW, ROW);
    expect(
      client.received
        .slice(-5)
        .map(({ type }) => type)
        .join(''),
    ).toBe('TDDEZ');
    expect(sqlStates(client.received)).toEqual(['08006']);
  });

  test('half a row: nothing is put into the other half', async () => {
    const half = LONG_ROW.subarray(0, 1_000);
    await answered(ROW_DESCRIPTION, ROW, half);
    expect(Buffer.concat(bytes)).toEqual(Buffer.concat([ROW_DESCRIPTION, ROW, half]));
  });

  test('its last word: that, and nothing of ours', async () => {
    const fatal = fields('E', 'SFATAL', 'VFATAL', 'C57P02', 'Mcrash of another process');
    const client = await answered(ROW_DESCRIPTION, fatal);
    expect(
      client.received
        .slice(-3)
        .map(({ type }) => type)
        .join(''),
    ).toBe('TEZ');
    expect(sqlStates(client.received)).toEqual(['57P02']);
  });

  test('something on an idle connection: the next client is told what it must know', async () => {
    const idle = Promise.withResolvers<void>();
    await using scripted = await ScriptedDatabase.start(async (session) => {
      session.send(...welcome());
      await session.until('Q');
      session.send(...selected(['first']));
      await idle.promise;
      session.send(
        fields('N', 'SNOTICE', 'VNOTICE', 'C00000', 'Mto nobody'),
        parameterStatus('server_version', '18.99'),
        fields('E', 'SERROR', 'VERROR', 'C57014', 'Mof a cancel that came too late'),
        parameterStatus('TimeZone', 'Europe/Berlin'),
      );
      told.resolve();
      await session.until('Q');
      session.send(...selected(['second']));
      await session.until('X');
      session.end();
    });
    const told = Promise.withResolvers<void>();
    await using berth = await Berth.start({
      database: database(),
      pool: { MaxConnections: 1 },
      file: reachedAt(scripted.port),
      expect: ['connection.closed', 'client.closed'],
    });
    using client = await berth.login();
    await client.query('select 1');
    idle.resolve();
    await told.promise;
    const answer = await client.query('select 2');
    expect(answer.map(formatMessage).filter((line) => !line.startsWith('RowD'))).toEqual([
      'ParameterStatus server_version=18.99',
      'ParameterStatus TimeZone=Europe/Berlin',
      'DataRow "second"',
      'CommandComplete SELECT 1',
      'ReadyForQuery I',
    ]);
  });

  test('what no request explains: the connection goes, the client is told, nothing is passed on', async () => {
    const client = await answered(frontend.message('2'), ...selected(['x']));
    expect(sqlStates(client.received)).toEqual(['08006']);
    expect(client.received.some(({ type }) => type === 'D')).toBe(false);
  });
});
