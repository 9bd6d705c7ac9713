/** PG-73: the connection that listens for all clients: opened, shared, lost, opened again, closed. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import {
  LISTEN_WAIT_MS,
  type Listener,
  type NotificationHub,
} from '../../src/engine/postgres/notification/hub.ts';
import { Arrivals, within } from '../harness/deadline.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import { EngineOnWheel } from './engine-on-wheel.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
const LISTENING = `select pid, query from pg_stat_activity where application_name = 'berth-listener'`;

/** Somebody who writes down what it is told. */
class Ear implements Listener {
  readonly heard = new Arrivals<string>();
  readonly user: string;
  rests = 0;

  constructor(user = 'app') {
    this.user = user;
  }

  notified(channel: string, message: Buffer): void {
    const payload = message.toString('utf8', message.indexOf(0, 9) + 1, message.length - 1);
    this.heard.push(`${channel}:${payload}`);
  }

  rested(): void {
    this.rests++;
  }

  async until(text: string): Promise<void> {
    const look = () => (this.heard.all.at(-1) === text ? true : undefined);
    await this.heard.until(look, () => `${text}; there were ${this.heard.all.join(' ')}`);
  }
}

function listen(hub: NotificationHub, ear: Ear, ...names: string[]): Promise<boolean> {
  for (const name of names) hub.join(name, ear);
  if (hub.hears(names)) return Promise.resolve(true);
  const answer = Promise.withResolvers<boolean>();
  hub.whenHeard(names, answer.resolve);
  return within(answer.promise, `an answer about ${names.join(' ')}`);
}

function notify(channel: string, payload: string): Promise<unknown> {
  return adminQuery(database(), `select pg_notify('${channel}', '${payload}')`);
}

test('one connection listens for everybody, and is closed when nobody is left', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  const hub = proxy.engine.hubs.hubFor('app');
  const [first, second] = [new Ear(), new Ear('other')];
  expect(await listen(hub, first, 'one')).toBe(true);
  expect(await listen(hub, second, 'one', 'Two "2"')).toBe(true);
  expect(await adminQuery(database(), LISTENING)).toHaveLength(1);
  expect(proxy.gauges.listeningConnections).toBe(1);
  await notify('one', 'to both');
  await Promise.all([first.until('one:to both'), second.until('one:to both')]);
  await notify('Two "2"', 'x');
  await second.until('Two "2":x');
  expect(first.heard.all).toEqual(['one:to both']);
  expect(first.rests).toBeGreaterThan(0);
  hub.leave('one', first);
  hub.leave('one', second);
  hub.leave('Two "2"', second);
  proxy.pass(5_000);
  expect(proxy.gauges.listeningConnections).toBe(1);
  proxy.pass(6_000);
  await proxy.until('listener.closed');
  expect(proxy.gauges.listeningConnections).toBe(0);
  expect(await adminQuery(database(), LISTENING)).toHaveLength(0);
  // And again.
  expect(await listen(hub, first, 'one')).toBe(true);
});

test('a channel that nobody wants any more is not listened to', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  const hub = proxy.engine.hubs.hubFor('app');
  const ear = new Ear();
  await listen(hub, ear, 'kept', 'dropped');
  hub.leave('dropped', ear);
  proxy.pass(11_000);
  expect(hub.hears(['dropped'])).toBe(false);
  const look = async () => {
    const [row] = await adminQuery(database(), LISTENING);
    return row?.query === 'UNLISTEN "dropped"' ? true : undefined;
  };
  await eventually(look, 'UNLISTEN');
  expect(await listen(hub, ear, 'dropped')).toBe(true);
});

test('when the connection is lost it listens again to everything', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  const hub = proxy.engine.hubs.hubFor('app');
  const ear = new Ear();
  await listen(hub, ear, 'one', 'two');
  await adminQuery(database(), `select pg_terminate_backend(pid) from (${LISTENING}) as listening`);
  const [lost] = await proxy.until('listener.lost');
  expect(lost?.detail).toBe('terminating connection due to administrator command');
  expect(hub.hears(['one'])).toBe(false);
  proxy.pass(100);
  await proxy.until('listener.opened', 2);
  const look = () => (hub.hears(['one', 'two']) ? true : undefined);
  await eventually(look, 'the channels');
  await notify('two', 'again');
  await ear.until('two:again');
});

test('while the database cannot be reached it is tried again with growing delays', async () => {
  const down = new EngineOnWheel(1, 2);
  const hub = down.engine.hubs.hubFor('app');
  const ear = new Ear();
  hub.join('one', ear);
  let answer: boolean | undefined;
  hub.whenHeard(['one'], (isHeard) => {
    answer = isHeard;
  });
  await down.until('connection.open_failed');
  for (let attempts = 2; attempts <= 4; attempts++) {
    down.pass(1_000);
    await down.until('connection.open_failed', attempts);
  }
  expect(answer).toBeUndefined();
  down.pass(LISTEN_WAIT_MS);
  expect(answer).toBe(false);
  down[Symbol.dispose]();
});

test('a database that does not answer any more is left', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  const hub = proxy.engine.hubs.hubFor('app');
  await listen(hub, new Ear(), 'one');
  // The clock runs past the next look and the time for its answer before any byte can come.
  proxy.pass(31_000);
  const [lost] = await proxy.until('listener.lost');
  expect(lost?.detail).toContain('did not answer');
});

test('it takes its place in a pool that is full, and gives it back', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  using one = await proxy.login();
  using two = await proxy.login();
  await Promise.all([one.query('begin'), two.query('begin')]);
  const hub = proxy.engine.hubs.hubFor('app');
  const ear = new Ear();
  const answer = listen(hub, ear, 'one');
  expect(proxy.gauges.listeningConnections).toBe(0);
  await one.query('commit');
  expect(await answer).toBe(true);
  expect(proxy.gauges.databaseConnections).toBe(1);
  await two.query('commit');
  hub.leave('one', ear);
  proxy.pass(11_000);
  await proxy.until('listener.closed');
  await Promise.all([one.query('begin'), two.query('begin')]);
  expect(proxy.gauges.databaseConnections).toBe(2);
});

test('with one connection in all it is not opened, and neither for an unknown user', async () => {
  using single = new EngineOnWheel(database().port, 1);
  expect(await listen(single.engine.hubs.hubFor('app'), new Ear(), 'one')).toBe(false);
  using proxy = new EngineOnWheel(database().port, 2);
  const hub = proxy.engine.hubs.hubFor('app');
  const stranger = new Ear('nobody');
  expect(await listen(hub, stranger, 'one')).toBe(false);
  const [failure] = await proxy.until('connection.open_failed');
  expect(failure?.user).toBe('nobody');
  hub.leave('one', stranger);
  const answer = listen(hub, new Ear(), 'two');
  proxy.pass(200);
  expect(await answer).toBe(true);
});

test('what has been notified before is there when it has caught up', async () => {
  using proxy = new EngineOnWheel(database().port, 2);
  const hub = proxy.engine.hubs.hubFor('app');
  const ear = new Ear();
  await listen(hub, ear, 'one');
  for (let round = 0; round < 20; round++) {
    await notify('one', `${round}`);
    const caughtUp = Promise.withResolvers<void>();
    hub.catchUp(caughtUp.resolve);
    await caughtUp.promise;
    expect(ear.heard.all.length).toBe(round + 1);
  }
});
