/** The network must do exactly what it is told before anything is judged by it. */

import { expect, test } from 'bun:test';
import { textRows } from '../harness/backend-messages.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { HostileNetwork, type Plan } from './hostile-network.ts';

const database = usePostgres();
const APP = { user: 'app', password: 'app-password', database: 'app' };

async function through(plan: Plan): Promise<HostileNetwork> {
  const network = await HostileNetwork.start(database().port);
  network.plan = () => plan;
  return network;
}

test('without orders everything goes through, ends included', async () => {
  await using network = await through({});
  const client = await RawClient.login({ port: network.port }, APP);
  const rows = textRows(await client.query("select repeat('x', 3000000)"));
  expect(rows[0]?.[0]?.length).toBe(3_000_000);
  await client.end();
  const [link] = network.links.all;
  await link?.closed;
  expect(network.attempts).toBe(1);
  expect(link?.passed.toClient).toBeGreaterThan(3_000_000);
});

test('bytes go one by one', async () => {
  await using network = await through({ pieceBytes: 1 });
  using client = await RawClient.login({ port: network.port }, APP);
  let chunks = 0;
  client.socket.on('data', () => {
    chunks++;
  });
  expect(textRows(await client.query("select 'one by one'"))).toEqual([['one by one']]);
  expect(chunks).toBeGreaterThan(20);
});

test('a connection is reset after an exact number of bytes', async () => {
  const cut = { direction: 'toClient', afterBytes: 10, how: 'reset' } as const;
  await using network = await through({ cut });
  using client = await RawClient.connect({ port: network.port });
  client.send(frontend.startup({ user: 'app', database: 'app' }));
  await client.untilClosed();
  const [link] = network.links.all;
  expect(link?.passed.toClient).toBe(10);
  expect(client.socket.bytesRead).toBeLessThanOrEqual(10);
});

test('a stalled connection says nothing, and goes on afterwards', async () => {
  await using network = await through({});
  using client = await RawClient.login({ port: network.port }, APP);
  network.stall();
  client.send(frontend.query('select 1'));
  await expect(client.next(200)).rejects.toThrow('not within 200 ms');
  network.flow();
  expect(textRows(await client.untilReady())).toEqual([['1']]);
});

test('a delay delays', async () => {
  await using network = await through({ delayMs: 20 });
  using client = await RawClient.login({ port: network.port }, APP);
  const began = performance.now();
  await client.query('select 1');
  expect(performance.now() - began).toBeGreaterThanOrEqual(38);
});
