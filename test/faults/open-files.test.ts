/** A proxy that the system allows few open files: its own trouble, never the target's. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { OpenSockets } from '../../src/net/open-sockets.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';
import { pooledConnections } from './activity.ts';

setDefaultTimeout(25_000);

const OPEN_FILES_MAX = 64;
const TICKS_PER_SECOND = 100;

const database = usePostgres();

function startLimited(): Promise<Berth> {
  return Berth.start({
    database: database(),
    openFilesMax: OPEN_FILES_MAX,
    expect: [(line) => line.event === 'client.closed' && line.reason === 'too_many_connections'],
  });
}

/** Seconds of CPU that the process has used. */
function cpuSeconds(berth: Berth): number {
  const stat = readFileSync(`/proc/${berth.pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Logs clients in until one is refused. */
async function fill(berth: Berth): Promise<RawClient[]> {
  const clients: RawClient[] = [];
  for (;;) {
    try {
      clients.push(await berth.login());
    } catch (error) {
      if (!(error instanceof LoginError)) throw error;
      expect(error.sqlState).toBe('53300');
      expect(error.fields.get('S')).toBe('FATAL');
      expect(error.fields.get('D')).toContain('open files');
      return clients;
    }
  }
}

function stateOfTarget(berth: Berth): string[] {
  return berth.logged('target.health_changed').map(({ level }) => level);
}

test('PG-78, PG-31: clients beyond the files that there are get 53300; those inside are served', async () => {
  await using berth = await startLimited();
  const clients = await fill(berth);
  expect(clients.length).toBeGreaterThan(10);
  expect(clients.length).toBeLessThan(OPEN_FILES_MAX);
  // One database connection is open so far. There is room for more.
  for (const client of clients) client.send(frontend.query('select pg_sleep(0.05)'));
  for (const client of clients) expect(sqlStates(await client.untilReady())).toEqual([]);
  expect(await pooledConnections(database())).toBe(4);
  expect((await berth.fetch('/readyz')).status).toBe(200);

  for (const client of clients) client.destroy();
  await untilMetric(berth, 'client_connections', 0);
  const again = await fill(berth);
  // The pool may have three connections more now.
  expect(again.length).toBeGreaterThanOrEqual(clients.length - 3);
  expect(again.length).toBeLessThanOrEqual(clients.length);
  for (const client of again) client.destroy();
  await untilMetric(berth, 'client_connections', 0);
  expect(stateOfTarget(berth)).toEqual(['info']);
});

test('PG-78: under a flood of clients the accept loop lives and does not spin', async () => {
  await using berth = await startLimited();
  using inside = await berth.login();
  const flood = await Promise.all(
    Array.from({ length: 200 }, () =>
      RawClient.connect({ port: berth.port }).catch(() => undefined),
    ),
  );
  // Some are let in and say nothing; all others are closed.
  const left = await eventually(() => {
    const open = flood.filter((client) => client?.isClosed === false).length;
    return open < OPEN_FILES_MAX ? open : undefined;
  }, 'the end of those who are too many');
  expect(left).toBeGreaterThan(10);

  const began = performance.now();
  const before = cpuSeconds(berth);
  await expect(inside.next(1_000)).rejects.toThrow('not within 1000 ms');
  const share = (cpuSeconds(berth) - before) / ((performance.now() - began) / 1_000);
  expect(share).toBeLessThan(0.3);
  expect(textRows(await inside.query("select 'served'"))).toEqual([['served']]);
  expect((await berth.fetch('/healthz')).status).toBe(200);

  for (const client of flood) client?.destroy();
  await untilMetric(berth, 'client_connections', 1);
  using late = await berth.login();
  expect(textRows(await late.query('select 1'))).toEqual([['1']]);
  expect(stateOfTarget(berth)).toEqual(['info']);
});

test('who may still have a socket', () => {
  const sockets = new OpenSockets(20);
  expect(sockets.clientsMax).toBe(15);
  const readings: string[] = [];
  for (let i = 0; i < 20; i++) {
    sockets.opened();
    const may = [
      sockets.mayServe && 'serve',
      sockets.mayLinger && 'linger',
      sockets.mayConnect && 'connect',
    ];
    readings.push(may.filter(Boolean).join(' '));
  }
  expect(readings.slice(14)).toEqual([
    'serve linger connect',
    'linger connect',
    'linger connect',
    'connect',
    'connect',
    '',
  ]);
  for (let i = 0; i < 20; i++) sockets.closed();
  expect(() => sockets.closed()).toThrow('more were closed than opened');
  expect(new OpenSockets(100_000).clientsMax).toBe(99_872);
  expect(new OpenSockets(Number.POSITIVE_INFINITY).clientsMax).toBe(Number.POSITIVE_INFINITY);
});
