/**
 * Deadlines that are too long to wait for: an engine on real sockets, a real database, a network that
 * stops, and a clock turned by hand.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { errorFields, formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { EngineOnWheel } from './engine-on-wheel.ts';
import { HostileNetwork } from './hostile-network.ts';

setDefaultTimeout(20_000);

const database = usePostgres();

/** Stalls each new connection at its first byte; those that are open go on. */
function swallowNew(network: HostileNetwork): void {
  network.plan = () => ({ cut: { direction: 'toServer', afterBytes: 0, how: 'stall' } });
}

async function backendPid(client: RawClient): Promise<string> {
  return textRows(await client.query('select pg_backend_pid()'))[0]?.[0] ?? '';
}

/** The process that runs a pg_sleep, once one does. */
async function untilSleeping(): Promise<string> {
  const sql = "select pid::text from pg_stat_activity where wait_event = 'PgSleep'";
  const look = async () => (await adminQuery(database(), sql))[0]?.pid ?? undefined;
  return await eventually(look, 'a sleeping statement');
}

async function untilQueued(proxy: EngineOnWheel, depth: number): Promise<void> {
  const look = () => (proxy.gauges.queueDepth === depth ? true : undefined);
  await eventually(look, `${depth} in the queue`);
}

/** Lets time go by until the client has its whole answer. */
async function answerInTime(proxy: EngineOnWheel, client: RawClient): Promise<string[]> {
  await eventually(() => {
    proxy.pass(100);
    return client.unread.some(({ type }) => type === 'Z') ? true : undefined;
  }, 'an answer while time goes by');
  return (await client.untilReady()).map(formatMessage);
}

test('PG-70: a cancel that never arrives costs the connection after 10 s, and nobody else gets it', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 1);
  using client = await proxy.login();
  const victim = await backendPid(client);
  swallowNew(network);
  const before = network.attempts;
  client.send(frontend.query("select pg_sleep(0.2), 'finished'"));
  await untilSleeping();
  const cancelled = client.cancel();
  await eventually(() => network.links.all[before]?.firstBytes.length || undefined, 'the request');
  proxy.pass(1_000);
  // The statement ends by itself while its cancel is under way somewhere.
  expect(sqlStates(await client.untilReady())).toEqual([]);

  using next = await proxy.login();
  next.send(frontend.query('select pg_backend_pid()'));
  await untilQueued(proxy, 1);
  proxy.pass(8_500);
  expect(proxy.gauges.queueDepth).toBe(1);
  network.plan = () => ({});
  proxy.pass(2_000);
  await cancelled;
  // It may still arrive: the database process that it names must not serve anybody any more.
  const answer = await answerInTime(proxy, next);
  expect(answer.join()).toContain('DataRow');
  expect(answer.join()).not.toContain(`"${victim}"`);
  expect(proxy.gauges.databaseConnections).toBe(1);
});

test('PG-70: what the proxy asks for itself waits for a cancel that may come late', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 1);
  using client = await proxy.login();
  await backendPid(client);
  const [link] = network.links.all;
  network.stall();
  link?.flow();
  const before = network.attempts;
  const sql = "set work_mem = '1234kB'; create temp table short (); drop table short";
  client.send(frontend.query(`${sql}; select pg_sleep(0.2)`));
  await untilSleeping();
  const cancelled = client.cancel();
  const late = () => network.links.all[before];
  await eventually(() => late()?.firstBytes.length || undefined, 'the request');
  expect(sqlStates(await client.untilReady())).toEqual([]);
  // The statement is over, but nothing is asked that the cancel could hit.
  const sent = link?.passed.toServer ?? 0;
  await client.query('select 1');
  expect(link?.passed.toServer).toBe(sent + frontend.query('select 1').length);
  expect(proxy.gauges.databaseConnectionsCurrentlyBorrowed).toBe(1);
  network.flow();
  await cancelled;
  const look = () => proxy.gauges.databaseConnectionsCurrentlyBorrowed === 0 || undefined;
  await eventually(look, 'the return of the connection');
  expect(textRows(await client.query('show work_mem'))).toEqual([['1234kB']]);
  expect(proxy.events.all.filter(({ event }) => event === 'session.pinned')).toEqual([]);
});

test('PG-71: 5,000 cancels behind a network that swallows them neither pile up connections nor overflow', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 2);
  using client = await proxy.login();
  await client.query('begin');
  client.send(frontend.query('select pg_sleep(60)'));
  const pid = await untilSleeping();
  swallowNew(network);
  const before = network.attempts;
  let done = 0;
  for (let i = 0; i < 5_000; i++) {
    proxy.engine.cancel(client.backendPid, client.backendSecret.toString('latin1'), () => {
      done++;
    });
  }
  await network.links.until(() => network.attempts > before || undefined, 'a cancel connection');
  await adminQuery(database(), `select pg_cancel_backend(${pid})`);
  expect(sqlStates(await client.untilReady())).toEqual(['57014']);
  expect(network.attempts - before).toBeLessThanOrEqual(8);
  client.send(frontend.query('rollback'));
  await client.untilReady();
  // Nothing is left to cancel: those that wait are dropped when the first ones are given up.
  await eventually(() => {
    proxy.pass(1_000);
    return done === 5_000 ? true : undefined;
  }, 'the end of all cancels');
  expect(network.attempts - before).toBeLessThanOrEqual(16);
  network.plan = () => ({});
  client.send(frontend.query('select 1'));
  expect(await answerInTime(proxy, client)).toContain('DataRow "1"');
  expect(proxy.events.all.filter(({ event }) => event === 'internal.failed')).toEqual([]);
});

test('PG-32: idle connections in a black hole are probed after 30 s and never lent', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 4);
  const clients = await Promise.all([1, 2, 3].map(() => proxy.login()));
  for (const client of clients) client.send(frontend.query('select pg_sleep(0.1)'));
  for (const client of clients) await client.untilReady();
  expect(proxy.gauges.databaseConnections).toBe(3);
  for (const link of network.open) link.stall();

  proxy.pass(31_000);
  const [client] = clients;
  client?.send(frontend.query("select 'alive'"));
  const answer = client === undefined ? [] : await answerInTime(proxy, client);
  expect(answer).toContain('DataRow "alive"');
  proxy.pass(3_000);
  const closes = await proxy.until('connection.closed', 3);
  expect(closes.map(({ reason }) => reason)).toEqual([
    'probe_failed',
    'probe_failed',
    'probe_failed',
  ]);
  for (const each of clients) each.destroy();
});

test('PG-32: a connection that rested for less than 30 s is lent without a probe', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 1);
  using client = await proxy.login();
  const before = await backendPid(client);
  const sent = network.links.all[0]?.passed.toServer ?? 0;
  proxy.pass(29_000);
  const length = frontend.query('select pg_backend_pid()').length;
  expect(await backendPid(client)).toBe(before);
  expect(network.links.all[0]?.passed.toServer).toBe(sent + length);
  proxy.pass(31_000);
  expect(await backendPid(client)).toBe(before);
  // The Sync that proves it alive.
  expect(network.links.all[0]?.passed.toServer).toBe(sent + 2 * length + frontend.sync().length);
});

test('a client in the queue is told after 5 s, its place, and again when it has waited twice as long', async () => {
  using proxy = new EngineOnWheel(database().port, 1);
  using holder = await proxy.login();
  await holder.query('begin');
  using first = await proxy.login();
  first.send(frontend.query('select 1'));
  await untilQueued(proxy, 1);
  using second = await proxy.login();
  second.send(frontend.parse('', 'select 2'), frontend.bind(), frontend.execute(), frontend.sync());
  await untilQueued(proxy, 2);
  proxy.pass(4_800);
  expect([first.unread, second.unread]).toEqual([[], []]);
  proxy.pass(300);
  const notice = async (client: RawClient) => errorFields(await client.next());
  expect(Object.fromEntries(await notice(first))).toEqual({
    S: 'NOTICE',
    V: 'NOTICE',
    C: '01000',
    M: 'Waiting for a database connection for 5 s; 1 in the queue.',
  });
  expect((await notice(second)).get('M')).toContain('2 in the queue');
  proxy.pass(30_000);
  expect((await notice(first)).get('M')).toContain('for 10 s; 1 in the queue');
  expect((await notice(first)).get('M')).toContain('for 20 s; 1 in the queue');
  expect(first.unread).toEqual([]);
  await holder.query('commit');
  expect(textRows(await first.untilReady())).toEqual([['1']]);
  const messages = await second.untilReady();
  expect(messages.map(({ type }) => type).join('')).toBe('NN12DCZ');
});

test('PG-29: a queued client that sent more than is kept, and then left, leaves the queue', async () => {
  using proxy = new EngineOnWheel(database().port, 1);
  using holder = await proxy.login();
  await holder.query('begin');
  using client = await proxy.login();
  client.send(frontend.query(`select '${'x'.repeat(4_000_000)}'`));
  await untilQueued(proxy, 1);
  proxy.pass(5_100);
  await client.until('N');
  // Its socket is not read any more, so its end is not seen, either.
  client.destroy();
  await client.untilClosed();
  proxy.pass(4_000);
  expect(proxy.gauges.queueDepth).toBe(1);
  // What it is told when it has waited for twice as long finds nobody.
  proxy.pass(1_500);
  await untilQueued(proxy, 0);
  expect(proxy.counters.clientConnections).toBe(1);
  await holder.query('commit');
});

test('a client that waits at its login is told after 5 s too', async () => {
  using proxy = new EngineOnWheel(database().port, 1);
  using holder = await proxy.login();
  await holder.query('begin');
  const late = proxy.login({ parameters: { timezone: 'Asia/Tokyo' } });
  await untilQueued(proxy, 1);
  proxy.pass(5_100);
  await holder.query('commit');
  using client = await late;
  expect(client.received.map(formatMessage).join('\n')).toContain('Waiting for a database');
  expect(client.parameters.get('TimeZone')).toBe('Asia/Tokyo');
});

test('a postmaster that accepts and does not answer is given up after 15 s, and tried again', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  using client = await proxy.login();
  await client.query('begin');
  database().kill('SIGSTOP');
  try {
    const late = proxy.login({ parameters: { application_name: 'late' } });
    await eventually(() => proxy.gauges.databaseConnections === 1 || undefined, 'an attempt');
    await untilQueued(proxy, 1);
    proxy.pass(14_000);
    expect(proxy.events.all.some(({ event }) => event === 'connection.open_failed')).toBe(false);
    proxy.pass(6_200);
    const [failure] = await proxy.until('connection.open_failed');
    expect(failure?.isTemporary).toBe(true);
    expect(failure?.detail).toContain('15000 ms');
    database().kill('SIGCONT');
    await eventually(() => {
      proxy.pass(100);
      return proxy.gauges.queueDepth === 0 ? true : undefined;
    }, 'a connection');
    using served = await late;
    expect(textRows(await served.query('select 1'))).toEqual([['1']]);
  } finally {
    database().kill('SIGCONT');
  }
});

test('permits with attempts that nobody answers do not prove that the target is there', async () => {
  await using network = await HostileNetwork.start(database().port);
  using proxy = new EngineOnWheel(network.port, 1);
  network.stall();
  const waiting = proxy.login();
  await untilQueued(proxy, 1);
  expect(await proxy.member.probe()).toBeUndefined();
  expect(await proxy.member.probe()).toBeUndefined();
  network.flow();
  using client = await waiting;
  await client.query('begin');
  expect(await proxy.member.probe()).toMatchObject({ isOk: true });
  // Nobody has been answered since.
  expect(await proxy.member.probe()).toBeUndefined();
  await client.query('select 1');
  expect(await proxy.member.probe()).toMatchObject({ isOk: true });
});
