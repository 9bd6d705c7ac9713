/** CancelRequest: of what runs, of what waits, of what is over, and of what belongs to somebody else. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { createConnection, createServer, type Socket } from 'node:net';
import pg from 'pg';
import postgres from 'postgres';
import { backendPid, reachedAt, untilRunning } from '../faults/activity.ts';
import { useNetwork } from '../faults/hostile-network.ts';
import { errorFields, readyStatus, sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { Arrivals, within } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { testWith } from '../harness/programs.ts';
import { RawClient } from '../harness/raw-client.ts';
import { loginDirectly } from './side-by-side.ts';

setDefaultTimeout(20_000);

const CANCEL_REQUEST = 80_877_102;

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  expect: [(line) => line.event === 'client.closed' && line.reason === 'protocol_violation'],
}));

/** Sends bytes to the proxy as a cancel request would go, and waits until it has closed. */
async function sendAlone(...parts: readonly Uint8Array[]): Promise<void> {
  using client = await RawClient.connect({ port: berth().port });
  client.send(...parts);
  await client.untilClosed();
}

/** The session runs a statement of 60 s now. */
async function sleep(client: RawClient): Promise<void> {
  client.send(frontend.query('select pg_sleep(60)'));
  await untilRunning(database(), 'pg_sleep(60)');
}

describe('what runs', () => {
  test('PG-70: a simple query is cancelled, and the session goes on', async () => {
    using client = await berth().login();
    await sleep(client);
    await client.cancel();
    const messages = await client.untilReady();
    expect(messages.map(({ type }) => type).join('')).toMatch(/^T?EZ$/);
    expect(sqlStates(messages)).toEqual(['57014']);
    expect(textRows(await client.query("select 'on'"))).toEqual([['on']]);
    await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
  });

  test('PG-70: an extended batch is cancelled up to its Sync, and the next batch runs', async () => {
    using client = await berth().login();
    client.send(
      frontend.parse('', 'select pg_sleep(60)'),
      frontend.bind(),
      frontend.execute(),
      frontend.parse('', "select 'never'"),
      frontend.bind(),
      frontend.execute(),
      frontend.sync(),
      frontend.parse('', "select 'after'"),
      frontend.bind(),
      frontend.execute(),
      frontend.sync(),
    );
    await untilRunning(database(), 'pg_sleep(60)');
    await client.cancel();
    const messages = await client.untilReady(2);
    expect(messages.map(({ type }) => type).join('')).toBe('12EZ12DCZ');
    expect(textRows(messages)).toEqual([['after']]);
  });

  test('PG-70: in a transaction the client keeps its connection and rolls back itself', async () => {
    using client = await berth().login();
    const pid = await backendPid(client);
    await client.query('begin');
    await sleep(client);
    await client.cancel();
    const messages = await client.untilReady();
    expect(sqlStates(messages)).toEqual(['57014']);
    expect(messages.map(readyStatus).at(-1)).toBe('E');
    expect(sqlStates(await client.query('select 1'))).toEqual(['25P02']);
    await client.query('rollback');
    expect(await backendPid(client)).toBe(pid);
  });

  test('PG-70: a cancel for a session that does nothing changes nothing', async () => {
    using client = await berth().login();
    await client.cancel();
    await client.query('begin');
    await client.cancel();
    const messages = await client.query('select 1');
    expect(sqlStates(messages)).toEqual([]);
    expect(messages.map(readyStatus).at(-1)).toBe('T');
    await client.query('commit');
  });

  test('PG-70: with a key of protocol 3.2', async () => {
    using client = await berth().login({ protocol: frontend.PROTOCOL_3_2 });
    expect(client.backendSecret.length).toBe(32);
    await sleep(client);
    await sendAlone(frontend.cancelRequest(client.backendPid, client.backendSecret.subarray(0, 4)));
    await client.cancel();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
  });

  test('PG-72: a client that leaves in the middle of a statement has it cancelled and undone', async () => {
    const client = await berth().login();
    const pid = await backendPid(client);
    client.send(frontend.query('create table abandoned (); select pg_sleep(60)'));
    await untilRunning(database(), 'pg_sleep(60)');
    client.destroy();
    using next = await berth().login();
    expect(textRows(await next.query("select to_regclass('abandoned')"))).toEqual([[null]]);
    expect(await backendPid(next)).toBe(pid);
  });

  test('PG-72: a client that leaves in a transaction has its statement cancelled, and is rolled back', async () => {
    const client = await berth().login();
    const pid = await backendPid(client);
    await client.query('begin; create table abandoned ()');
    await sleep(client);
    client.destroy();
    using next = await berth().login();
    expect(textRows(await next.query("select to_regclass('abandoned')"))).toEqual([[null]]);
    expect(await backendPid(next)).toBe(pid);
    await untilMetric(berth(), 'database_connections_currently_in_transaction', 0);
  });

  test('PG-72: a client that leaves in a transaction, with more requests behind, leaves nothing', async () => {
    const client = await berth().login();
    await client.query('begin; create table abandoned ()');
    client.send(
      frontend.query('select pg_sleep(60)'),
      frontend.query('select pg_sleep(60)'),
      frontend.query('commit'),
    );
    await untilRunning(database(), 'pg_sleep(60)');
    client.destroy();
    using next = await berth().login();
    expect(textRows(await next.query("select to_regclass('abandoned')"))).toEqual([[null]]);
    await untilMetric(berth(), 'database_connections_currently_in_transaction', 0);
  });
});

describe('what does not cancel', () => {
  test('PG-71: a wrong secret, a wrong process id, and packets of a wrong length', async () => {
    using client = await berth().login();
    using other = await berth().login();
    await sleep(client);
    const { backendPid: id, backendSecret: secret } = client;
    const wrong = Buffer.from(secret.map((byte) => byte ^ 1));
    await sendAlone(frontend.cancelRequest(id, wrong));
    await sendAlone(frontend.cancelRequest(other.backendPid, secret));
    await sendAlone(frontend.cancelRequest(id, other.backendSecret));
    await sendAlone(frontend.cancelRequest(0, secret));
    await sendAlone(frontend.cancelRequest(-1, secret));
    await sendAlone(frontend.cancelRequest(id, Buffer.alloc(0)));
    await sendAlone(frontend.cancelRequest(id, secret.subarray(0, 3)));
    await sendAlone(frontend.cancelRequest(id, Buffer.concat([secret, secret])));
    await sendAlone(frontend.cancelRequest(id, Buffer.concat([secret, Buffer.alloc(9_000)])));
    // The code without a process id, and a length that promises more than 10,000 bytes.
    await sendAlone(frontend.cancelRequest(id, secret).subarray(4, 8), Buffer.alloc(0));
    await sendAlone(frontend.int32(10_005), frontend.int32(80_877_102));
    await sendAlone(frontend.int32(8), frontend.int32(80_877_102));
    expect(client.unread).toEqual([]);
    await client.cancel();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
  });

  test('PG-71: a cancel request that stops halfway, and its client leaves', async () => {
    using client = await berth().login();
    await sleep(client);
    const request = frontend.cancelRequest(client.backendPid, client.backendSecret);
    using half = await RawClient.connect({ port: berth().port });
    half.send(request.subarray(0, request.length - 1));
    half.destroy();
    await half.untilClosed();
    expect(client.unread).toEqual([]);
    using whole = await RawClient.connect({ port: berth().port });
    await whole.sendSplit(request, 1);
    await whole.untilClosed();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
  });

  test('PG-71: the key of a session that has ended', async () => {
    const gone = await berth().login();
    await gone.end();
    using client = await berth().login();
    await sleep(client);
    await gone.cancel();
    expect(client.unread).toEqual([]);
    await client.cancel();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
  });
});

describe('what waits', () => {
  test('PG-71: a queued client is dequeued, and the place behind it moves up', async () => {
    using holder = await berth().login();
    using queued = await berth().login();
    using behind = await berth().login();
    await holder.query('begin');
    queued.send(frontend.query('select 1'), frontend.query("select 'behind it'"));
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    behind.send(frontend.query('select 2'));
    await untilMetric(berth(), 'berth_borrow_queue_depth', 2);
    await queued.cancel();
    const [error, ready] = await queued.untilReady();
    expect(error === undefined ? '' : errorFields(error).get('M')).toBe(
      'canceling statement due to user request',
    );
    expect(error === undefined ? '' : errorFields(error).get('C')).toBe('57014');
    expect(ready?.body.toString()).toBe('I');
    // What was pipelined behind it waits in its turn, at the end of the queue.
    await untilMetric(berth(), 'berth_borrow_queue_depth', 2);
    await holder.query('commit');
    expect(textRows(await behind.untilReady())).toEqual([['2']]);
    expect(textRows(await queued.untilReady())).toEqual([['behind it']]);
    await untilMetric(berth(), 'berth_borrow_queue_depth', 0);
  });

  test('PG-71: a queued batch is refused up to its Sync, and the batch behind it runs', async () => {
    using holder = await berth().login();
    using queued = await berth().login();
    await holder.query('begin');
    queued.send(frontend.parse('', "select 'refused'"), frontend.bind());
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await queued.cancel();
    // The rest of the refused batch comes afterwards, with a query that belongs to it.
    queued.send(
      frontend.execute(),
      frontend.query("select 'skipped'"),
      frontend.sync(),
      frontend.query("select 'runs'"),
    );
    const messages = await queued.untilReady();
    expect(messages.map(({ type }) => type).join('')).toBe('EZ');
    expect(sqlStates(messages)).toEqual(['57014']);
    await holder.query('commit');
    expect(textRows(await queued.untilReady())).toEqual([['runs']]);
  });

  test('PG-71: a waiting statement of which only a part has come is dropped whole', async () => {
    using holder = await berth().login();
    using queued = await berth().login();
    await holder.query('begin');
    const large = frontend.query(`select '${'x'.repeat(1_000_000)}'`);
    queued.send(large.subarray(0, 500_000));
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await queued.cancel();
    expect(sqlStates(await queued.untilReady())).toEqual(['57014']);
    queued.send(large.subarray(500_000), frontend.query("select 'next'"));
    await holder.query('commit');
    expect(textRows(await queued.untilReady())).toEqual([['next']]);
  });
});

describe('storms and races', () => {
  test('PG-70: a cancel never hits the statement of the next client', async () => {
    using attacker = await berth().login();
    using victim = await berth().login();
    const forwarded = berth().logged('cancel.forwarded').length;
    let isOver = false;
    let victims = 0;
    const attacked = (async () => {
      while (!isOver) {
        // Both sides of a hand-over: statements that are short, and some that last.
        victim.send(frontend.query(`select pg_sleep(${(victims % 4) / 1000}), 'victim'`));
        const messages = await victim.untilReady();
        if (sqlStates(messages).length > 0) throw new Error(`hit after ${victims} statements`);
        victims++;
      }
    })();
    const outcomes = { cancelled: 0, finished: 0 };
    const request = frontend.cancelRequest(attacker.backendPid, attacker.backendSecret);
    try {
      for (let round = 0; round < 400 || victims < 400; round++) {
        // Open already, so that the requests come while the statement runs, and just after it.
        const cancels = await Promise.all([0, 1, 2].map(() => connect()));
        attacker.send(frontend.query(`select pg_sleep(${(round % 5) / 2000})`));
        for (const [index, cancel] of cancels.entries()) {
          await turns((round % 13) * index);
          cancel.send(request);
        }
        if (sqlStates(await attacker.untilReady()).length > 0) outcomes.cancelled++;
        else outcomes.finished++;
        await Promise.all(cancels.map((cancel) => cancel.untilClosed()));
      }
    } finally {
      isOver = true;
      await attacked;
    }
    expect(outcomes.cancelled).toBeGreaterThan(10);
    expect(outcomes.finished).toBeGreaterThan(10);
    expect(berth().logged('cancel.forwarded').length - forwarded).toBeGreaterThan(50);
  });

  test('PG-70: nor does the proxy’s own cancel of an abandoned statement', async () => {
    using victim = await berth().login();
    for (let round = 0; round < 100; round++) {
      const client = await berth().login();
      client.send(frontend.query(`select pg_sleep(${(round % 4) / 1000})`));
      await turns(round % 7);
      victim.send(frontend.query("select pg_sleep(0.001), 'victim'"));
      await turns(round % 11);
      client.destroy();
      expect(sqlStates(await victim.untilReady())).toEqual([]);
    }
  });
});

function connect(): Promise<RawClient> {
  return RawClient.connect({ port: berth().port });
}

/** Lets the event loop go round. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

describe('with a network in between', () => {
  const network = useNetwork(() => database().port);
  const proxy = useBerth(() => ({
    database: database(),
    file: reachedAt(network().port),
    pool: { MaxConnections: 2 },
  }));

  test('PG-71: of 1,000 cancels at once few are on their way at a time, and nothing else suffers', async () => {
    using client = await proxy().login();
    using other = await proxy().login();
    client.send(frontend.query('select pg_sleep(60)'));
    await untilRunning(database(), 'pg_sleep(60)');
    const before = network().attempts;
    let atOnceMax = 0;
    network().plan = () => {
      atOnceMax = Math.max(atOnceMax, network().open.length);
      return { delayMs: 5 };
    };
    let isOver = false;
    const others = (async () => {
      let count = 0;
      for (; !isOver; count++) expect(sqlStates(await other.query('select 1'))).toEqual([]);
      return count;
    })();
    await Promise.all(Array.from({ length: 1_000 }, () => client.cancel()));
    isOver = true;
    expect(await others).toBeGreaterThan(0);
    network().plan = () => ({});
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    // Two pooled connections, a look of the monitor, 8 cancels, and as many whose end the network has
    // not passed on yet.
    expect(atOnceMax).toBeLessThanOrEqual(2 + 1 + 2 * 8);
    expect(network().attempts - before).toBeLessThan(200);
    expect(textRows(await client.query("select 'on'"))).toEqual([['on']]);
    await untilMetric(proxy(), 'database_connections_currently_borrowed', 0);
  });

  test('PG-70: a cancel during the proxy’s own replay waits for the client’s statement', async () => {
    using plain = await proxy().login();
    using client = await proxy().login({ parameters: { timezone: 'Asia/Tokyo' } });
    // Every connection of the pool has no settings now.
    for (const each of [plain, client]) await each.query('select 1');
    using second = await proxy().login();
    await plain.query('begin');
    await second.query('begin');
    await plain.query('commit');
    await second.query('commit');
    const forwarded = proxy().logged('cancel.forwarded').length;
    network().stall();
    client.send(frontend.query('select pg_sleep(60)'));
    await untilMetric(proxy(), 'database_connections_currently_borrowed', 1);
    const closes = proxy().logged(isCancelClient).length;
    const cancelled = client.cancel();
    await proxy().untilLogged(isCancelClient, closes + 1);
    expect(proxy().logged('cancel.forwarded').length).toBe(forwarded);
    network().flow();
    await cancelled;
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    expect(textRows(await client.query('show timezone'))).toEqual([['Asia/Tokyo']]);
  });
});

test('PG-70: the connection of a cancel stays open until the other side closes it: poolers take its end for a change of mind', async () => {
  const ends = new Arrivals<'cancel' | 'end'>();
  const taken: Socket[] = [];
  const pooler = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => undefined);
    socket.once('data', (first: Buffer) => {
      if (first.readInt32BE(4) === CANCEL_REQUEST) {
        taken.push(socket);
        ends.push('cancel');
        socket.on('end', () => ends.push('end'));
        return;
      }
      const server = createConnection(database().port, '127.0.0.1');
      server.on('error', () => undefined);
      server.write(first);
      socket.pipe(server);
      server.pipe(socket);
    });
  });
  await new Promise<void>((resolve) => pooler.listen(0, '127.0.0.1', resolve));
  const address = pooler.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const Endpoint = { Address: '127.0.0.1', Port: port };
  const instance = { DBInstanceIdentifier: 'orders-db', Engine: 'postgres', Endpoint };
  await using own = await Berth.start({
    database: database(),
    pool: { MaxConnections: 2 },
    file: { DBInstances: [{ ...instance, Tls: { Mode: 'disable' } }] },
  });
  using client = await own.login();
  using keeper = await loginDirectly(database());
  await keeper.query('select pg_advisory_lock(99)');
  client.send(frontend.query('select pg_advisory_xact_lock(99)'));
  await untilRunning(database(), 'pg_advisory_xact_lock(99)');
  const cancelled = client.cancel();
  await ends.until(() => ends.all[0], 'the cancel at the pooler');
  // An end that was sent right behind it would be here long before all of this.
  using other = await own.login();
  expect(textRows(await other.query("select 'served'"))).toEqual([['served']]);
  await keeper.end();
  expect(textRows(await client.untilReady())).toEqual([['']]);
  expect(ends.all).toEqual(['cancel']);
  for (const socket of taken) socket.end();
  await cancelled;
  pooler.close();
});

function isCancelClient(line: { readonly event: string; readonly reason?: unknown }): boolean {
  return line.event === 'client.closed' && line.reason === 'cancel_request';
}

describe('clients', () => {
  testWith('psql', 'PG-70: Ctrl-C in psql', async () => {
    const args = ['-X', '-c', 'select pg_sleep(60)', '-c', "select 'after'"];
    const environment = {
      ...process.env,
      PGHOST: '127.0.0.1',
      PGPORT: String(berth().port),
      PGUSER: 'app',
      PGPASSWORD: 'app-password',
      PGDATABASE: 'app',
    };
    const child = spawn('psql', args, { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.stderr.on('data', (chunk) => {
      output += chunk;
    });
    const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
    await untilRunning(database(), 'pg_sleep(60)');
    child.kill('SIGINT');
    await within(ended, () => `the end of psql\n${output}`);
    expect(output).toContain('canceling statement due to user request');
    using next = await berth().login();
    expect(textRows(await next.query('select 1'))).toEqual([['1']]);
  });

  test('PG-70: the cancel of pg', async () => {
    const options = { host: '127.0.0.1', port: berth().port, user: 'app', database: 'app' };
    const client = new pg.Client({ ...options, password: 'app-password' });
    await client.connect();
    const query = new pg.Query('select pg_sleep(60)');
    const failed = new Promise<unknown>((resolve) => query.on('error', resolve));
    client.query(query);
    await untilRunning(database(), 'pg_sleep(60)');
    // In no types, and in use all the same.
    const cancel: unknown = Reflect.get(client, 'cancel');
    if (typeof cancel !== 'function') throw new Error('pg has no cancel any more');
    cancel.call(new pg.Client(options), client, query);
    expect(await within(failed, 'the error')).toMatchObject({ code: '57014' });
    expect((await client.query("select 'on' as value")).rows).toEqual([{ value: 'on' }]);
    await client.end();
  });

  test('PG-70: the cancel of postgres', async () => {
    const options = { host: '127.0.0.1', port: berth().port, user: 'app', database: 'app' };
    const sql = postgres({ ...options, password: 'app-password', max: 1, fetch_types: false });
    const query = sql`select pg_sleep(60)`.simple();
    const failed = query.then(
      () => undefined,
      (error: unknown) => error,
    );
    await untilRunning(database(), 'pg_sleep(60)');
    query.cancel();
    expect(await within(failed, 'the error')).toMatchObject({ code: '57014' });
    expect(await sql`select 'on' as value`.simple()).toMatchObject([{ value: 'on' }]);
    await sql.end();
  });
});
