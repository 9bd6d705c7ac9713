/**
 * Whatever a client does, the answers through the proxy are those of the database, message by
 * message. Each case runs direct and through pools of one and of four connections, on which other clients work at the
 * same time. What is the same each time has only one outcome.
 * `test/adversarial/` runs the cases again where Berth is given a hard time.
 */

import { describe, expect, test } from 'bun:test';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { isAdversarial } from '../harness/adversary.ts';
import { type Berth, useBerth } from '../harness/berth.ts';
import { adminQuery, START_DEADLINE_MS, TEST_USERS, usePostgres } from '../harness/postgres.ts';
import { skipBecause } from '../harness/programs.ts';
import { type Address, RawClient } from '../harness/raw-client.ts';
import { useShared } from '../harness/shared.ts';
import { readCases } from './cases.ts';
import { runCase } from './run-case.ts';
import type { Case } from './steps.ts';

const CASES = readCases();
const LOGIN = { user: TEST_USERS[0].name, password: TEST_USERS[0].password, database: 'app' };
/** A case may pin, end its own database connection, and leave in the middle of things. */
const EXPECTED_LOG = ['session.pinned', 'connection.closed', 'client.closed'];
const CASE_DEADLINE_MS = 60_000;
/** The company waits its turn while a case holds the only connection. */
const COMPANY_LOGIN = { ...LOGIN, deadlineMs: CASE_DEADLINE_MS };

/** With only one connection no adversary can move anybody. */
const POOLS = isAdversarial() ? [4] : [1, 4];

const database = usePostgres();
const direct = new Map<Case, string>();

test('there are cases', () => {
  expect(CASES.filter(({ name }) => name.startsWith('sql/')).length).toBeGreaterThanOrEqual(40);
  expect(CASES.filter(({ name }) => name.startsWith('raw/')).length).toBeGreaterThanOrEqual(30);
});

/** A case begins with an empty schema. The lock times out when a case before left its locks behind. */
async function play(item: Case, address: Address): Promise<string> {
  await adminQuery(
    database(),
    `set lock_timeout = '10s'; set client_min_messages = warning;
     drop schema if exists public cascade; create schema public authorization app`,
  );
  return await runCase(item, { address, login: LOGIN });
}

/** What the database itself answers. */
async function expectation(item: Case): Promise<string> {
  const known = direct.get(item) ?? (await play(item, { port: database().port }));
  direct.set(item, known);
  return known;
}

for (const connections of POOLS) {
  describe(`through a pool of ${connections}`, () => {
    const cases = CASES.filter((item) => item.connections <= connections);
    if (!existsSync(join(import.meta.dir, '../../src/cli/serve.ts'))) {
      skipBecause('there is no proxy yet', `conformance through a pool of ${connections}`);
      return;
    }
    const berth = useBerth(() => ({
      database: database(),
      pool: { MaxConnections: connections },
      expect: EXPECTED_LOG,
    }));
    useCompany(berth, connections === 1 ? 1 : 2);
    for (const item of cases) {
      test(
        item.name,
        async () => {
          const expected = await expectation(item);
          expect(await play(item, { port: berth().port })).toBe(expected);
        },
        CASE_DEADLINE_MS,
      );
    }
  });
}

/** Other clients, which keep the pool's connections moving. */
function useCompany(berth: () => Berth, count: number): void {
  let isOver = false;
  const work = async () => {
    const client = await RawClient.login({ port: berth().port }, COMPANY_LOGIN);
    while (!isOver) {
      await client.query("begin; set local application_name = 'company'; select 1");
      await client.query('rollback');
    }
    await client.end();
  };
  useShared({
    name: 'the company',
    start: () => Promise.resolve({ end: Promise.allSettled(Array.from({ length: count }, work)) }),
    stop: async ({ end }) => {
      isOver = true;
      const failed = (await end).find(({ status }) => status === 'rejected');
      expect(failed).toBeUndefined();
    },
    deadlineMs: START_DEADLINE_MS,
  });
}
