/** What is larger than every buffer, over TLS on both sides: memory stays as it is. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { untilRunning } from '../faults/activity.ts';
import { useNetwork } from '../faults/hostile-network.ts';
import { textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import { TestAuthority } from '../harness/certificates.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, startPostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';
import { useShared } from '../harness/shared.ts';
import { untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(60_000);

const GROWTH_MAX = 32 * 1024 * 1024;
const APP = { user: 'app', database: 'app', password: 'app-password', tls: {} } as const;

const database = useShared({
  name: 'the database',
  start: async () => {
    const authority = await TestAuthority.make();
    const authentication = { hostssl: 'scram-sha-256', hostnossl: 'reject' } as const;
    return await startPostgres({ tls: await authority.issue(), authentication });
  },
  stop: (postgres) => postgres.stop(),
  deadlineMs: START_DEADLINE_MS,
});
const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 1 } }));
const network = useNetwork(() => berth().port);

async function untilDatabaseWaits(): Promise<void> {
  const pid = await untilRunning(database(), 'repeat(');
  await eventually(async () => {
    const sql = `select wait_event from pg_stat_activity where pid = ${pid}`;
    const [row] = await adminQuery(database(), sql);
    return row?.wait_event === 'ClientWrite' ? true : undefined;
  }, 'the database to wait for its client');
}

test('PG-30 a reader that stalls in a result of 64 MB', async () => {
  const warm = await berth().login({ tls: {} });
  await warm.query("select repeat('x', 1000) from generate_series(1, 10000)");
  await warm.end();
  const before = berth().residentBytes();
  using client = await RawClient.login({ port: network().port }, APP);
  expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  client.send(frontend.query("select repeat('x', 1000) from generate_series(1, 64000)"));
  await client.next();
  network().stall();
  await untilDatabaseWaits();
  expect(berth().residentBytes() - before).toBeLessThan(GROWTH_MAX);
  network().flow();
  const rows = (await client.untilReady()).filter(({ type }) => type === 'D');
  expect(rows).toHaveLength(64_000);
  expect(rows.every(({ body }) => body.length === 1006)).toBe(true);
  expect(berth().residentBytes() - before).toBeLessThan(GROWTH_MAX);
  await client.end();
  await untilAllReturned(berth());
});

test('PG-30 a COPY of 64 MB that comes faster than the database takes it', async () => {
  await adminQuery(database(), 'create table sink (line text); alter table sink owner to app');
  using client = await berth().login({ tls: {} });
  const before = berth().residentBytes();
  client.send(frontend.query('copy sink from stdin'));
  await client.until('G');
  const rows = Buffer.concat(
    Array.from({ length: 64 }, () => frontend.copyData(`${'y'.repeat(999)}\n`)),
  );
  for (let round = 0; round < 1000; round++) client.send(rows);
  client.send(frontend.copyDone());
  await client.untilReady();
  expect(berth().residentBytes() - before).toBeLessThan(GROWTH_MAX);
  expect(await adminQuery(database(), 'select count(*) from sink')).toEqual([{ count: '64000' }]);
});
