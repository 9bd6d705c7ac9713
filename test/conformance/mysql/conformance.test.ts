/**
 * Whatever a client of MySQL or MariaDB does, the answers through the proxy are those of the database, packet by
 * packet. Each case runs direct, direct once more (which proves that it has only one outcome), and through pools of one and of
 * four connections; by a client of today, and by one that has neither DEPRECATE_EOF nor SESSION_TRACK.
 */

import { describe, expect, test } from 'bun:test';
import { CAPABILITY, MARIADB_CAPABILITY } from '../../harness/mysql/constants.ts';
import type { MysqlAddress, MysqlLoginOptions } from '../../harness/mysql/raw-client.ts';
import {
  describeServers,
  loginOf,
  mysqlAddressOf,
  mysqlAdmin,
  useMysql,
} from '../../harness/mysql/server.ts';
import { readCases } from './cases.ts';
import { runCase } from './run-case.ts';
import type { Case } from './steps.ts';

const CASES = readCases();
const CASE_DEADLINE_MS = 60_000;

/** What clients can do, as far as it changes the answers. */
const CLIENTS = {
  'a client of today': {},
  'an old client': { withoutCapabilities: CAPABILITY.DEPRECATE_EOF | CAPABILITY.SESSION_TRACK },
} as const;

/** A case with this word is for such clients only. */
const WORDS: Readonly<Record<string, number>> = {
  'query-attributes': CAPABILITY.QUERY_ATTRIBUTES,
  'found-rows': CAPABILITY.FOUND_ROWS,
  'ignore-space': CAPABILITY.IGNORE_SPACE,
};

const MARIADB_WORDS: Readonly<Record<string, number>> = {
  bulk: MARIADB_CAPABILITY.STMT_BULK_OPERATIONS,
  'extended-metadata': MARIADB_CAPABILITY.EXTENDED_METADATA,
};

function loginFor(item: Case, client: keyof typeof CLIENTS): MysqlLoginOptions {
  const capabilities = item.capabilities.reduce((sum, word) => sum | (WORDS[word] ?? 0), 0);
  const mariadbCapabilities = item.capabilities.reduce(
    (sum, word) => sum | (MARIADB_WORDS[word] ?? 0),
    0,
  );
  return { ...loginOf(), ...CLIENTS[client], capabilities, mariadbCapabilities };
}

test('there are cases, and their words are known', () => {
  expect(CASES.filter(({ name }) => name.startsWith('sql/')).length).toBeGreaterThanOrEqual(30);
  expect(CASES.filter(({ name }) => name.startsWith('raw/')).length).toBeGreaterThanOrEqual(20);
  const words = CASES.flatMap(({ capabilities }) => capabilities);
  expect(words.filter((word) => !Object.hasOwn({ ...WORDS, ...MARIADB_WORDS }, word))).toEqual([]);
});

describeServers(
  'conformance',
  (server) => {
    const database = useMysql(server, { settings: { max_allowed_packet: 64 * 1024 * 1024 } });
    const cases = CASES.filter(({ products }) => products.includes(server.product));
    const direct = new Map<string, string>();

    /** A case begins with empty databases. The lock times out when a case before left its locks behind. */
    async function play(
      item: Case,
      client: keyof typeof CLIENTS,
      address: MysqlAddress,
    ): Promise<string> {
      await mysqlAdmin(
        database(),
        `set lock_wait_timeout = 10;
         drop database if exists app; create database app;
         drop database if exists second; create database second`,
      );
      const ask = (sql: string) => mysqlAdmin(database(), sql);
      return await runCase(item, { address, login: loginFor(item, client), ask });
    }

    /** What the database itself answers. */
    async function expectation(item: Case, client: keyof typeof CLIENTS): Promise<string> {
      const key = `${client} ${item.name}`;
      const known = direct.get(key) ?? (await play(item, client, mysqlAddressOf(database())));
      direct.set(key, known);
      return known;
    }

    for (const client of ['a client of today', 'an old client'] as const) {
      describe(`direct, twice, for ${client}`, () => {
        for (const item of cases) {
          test(
            item.name,
            async () => {
              const first = await expectation(item, client);
              expect(await play(item, client, mysqlAddressOf(database()))).toBe(first);
            },
            CASE_DEADLINE_MS,
          );
        }
      });
    }
  },
  { isThorough: true },
);
