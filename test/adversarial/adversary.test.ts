/** The adversary bites: what it says it does it does, and whoever does not clean up is found out. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { textRows } from '../harness/backend-messages.ts';
import { Berth, type LogLine } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { ADVERSARY_SEED_VARIABLE, type AdversaryMode } from './modes.ts';

setDefaultTimeout(30_000);

const database = usePostgres();
const TRANSACTIONS = 60;

/** Runs `use` against a proxy with an adversary, and returns what the adversary says it did. */
async function withAdversary(
  adversary: readonly AdversaryMode[],
  use: (client: RawClient) => Promise<void>,
): Promise<LogLine> {
  const berth = await Berth.start({
    database: database(),
    pool: { MaxConnections: 3 },
    adversary,
    environment: { [ADVERSARY_SEED_VARIABLE]: '1' },
  });
  try {
    const client = await berth.login();
    await use(client);
    await client.end();
  } finally {
    await berth.stop();
  }
  const [ended] = berth.logged('adversary.ended');
  if (ended === undefined) throw new Error('the adversary did not say what it did');
  return ended;
}

/** What is left of whoever had the connection before. */
const LEFT_BEHIND = `select
  (select pg_catalog.count(*) from pg_catalog.pg_settings where source = 'session'),
  (select pg_catalog.count(*) from pg_catalog.pg_prepared_statements where from_sql),
  (select pg_catalog.count(*) from pg_catalog.pg_cursors where is_holdable),
  (select pg_catalog.count(*) from pg_catalog.pg_listening_channels()),
  (select pg_catalog.count(*) from pg_catalog.pg_locks
    where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()),
  (select pg_catalog.count(*) from pg_catalog.pg_class where relpersistence = 't'
    and relnamespace = pg_catalog.pg_my_temp_schema()),
  pg_catalog.current_setting('role')`;
const NOTHING = ['0', '0', '0', '0', '0', '0', 'none'];

async function looks(client: RawClient): Promise<(readonly (string | null)[])[]> {
  const found: (readonly (string | null)[])[] = [];
  for (let count = 0; count < TRANSACTIONS; count++) {
    found.push(...textRows(await client.query(LEFT_BEHIND)));
  }
  return found;
}

describe('connections', () => {
  test('no transaction runs where the last one of its session did', async () => {
    const pids: (string | null | undefined)[] = [];
    const { moved, same } = await withAdversary(['connections'], async (client) => {
      for (let count = 0; count < TRANSACTIONS; count++) {
        await client.query('begin');
        const rows = textRows(await client.query('select pg_backend_pid()'));
        await client.query('commit');
        pids.push(rows[0]?.[0]);
      }
    });
    expect(pids.filter((pid, at) => pid === pids[at - 1])).toEqual([]);
    expect({ moved, same }).toEqual({ moved: TRANSACTIONS - 1, same: 0 });
  });

  test('what it leaves behind is gone when the next one comes', async () => {
    const ended = await withAdversary(['connections'], async (client) => {
      for (const row of await looks(client)) expect(row).toEqual(NOTHING);
      client.send(frontend.bind(), frontend.execute(), frontend.sync());
      const [first] = await client.untilReady();
      expect(first?.type).toBe('E');
    });
    expect(ended.refusal).toBe('');
    expect(Number(ended.dirtied)).toBeGreaterThan(TRANSACTIONS / 3);
    expect(Number(ended.resettled)).toBeGreaterThan(TRANSACTIONS / 20);
  });

  test('without cleaning all of it is found', async () => {
    let rows: (readonly (string | null)[])[] = [];
    await withAdversary(['connections', 'careless'], async (client) => {
      rows = await looks(client);
    });
    for (const [column, nothing] of NOTHING.entries()) {
      const isFound = rows.some((row) => row[column] !== nothing);
      expect({ column, isFound }).toEqual({ column, isFound: true });
    }
  });
});

describe('sockets', () => {
  test('reads come in pieces and writes stall, and nothing is lost', async () => {
    const { pieces, stalls } = await withAdversary(['bytes', 'stalls'], async (client) => {
      for (let length = 1; length < 200_000; length *= 3) {
        const rows = textRows(await client.query(`select '${'x'.repeat(length)}', repeat('y', 9)`));
        expect(rows[0]?.[0]?.length).toBe(length);
      }
    });
    expect(Number(pieces)).toBeGreaterThan(2_000);
    expect(Number(stalls)).toBeGreaterThan(5);
  });
});
