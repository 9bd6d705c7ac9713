/**
 * Whatever a client of MySQL or MariaDB does, the answers through the proxy are those of the database, packet by
 * packet. Each case runs direct and through pools of one and of four connections; by a client of today, and by one that has
 * neither DEPRECATE_EOF nor SESSION_TRACK. What is the same each time has only one outcome. A case whose answers
 * are known to differ runs direct, twice.
 */

import { describe, expect, test } from 'bun:test';
import { isAdversarial } from '../../harness/adversary.ts';
import { type Berth, useBerth } from '../../harness/berth.ts';
import { makeMysqlConfiguration } from '../../harness/mysql/configuration.ts';
import { CAPABILITY, MARIADB_CAPABILITY } from '../../harness/mysql/constants.ts';
import {
  type MysqlAddress,
  type MysqlLoginOptions,
  MysqlRawClient,
  mustSucceed,
} from '../../harness/mysql/raw-client.ts';
import {
  describeServers,
  loginOf,
  mysqlAddressOf,
  mysqlAdmin,
  useMysql,
} from '../../harness/mysql/server.ts';
import { START_DEADLINE_MS } from '../../harness/postgres.ts';
import { useShared } from '../../harness/shared.ts';
import { readCases } from './cases.ts';
import { unusedDifferences, whyDifferent } from './known-differences.ts';
import { runCase } from './run-case.ts';
import type { Case } from './steps.ts';

const CASES = readCases();
const CASE_DEADLINE_MS = 60_000;
/** A case may pin, end its own database connection, and leave in the middle of things. */
const EXPECTED_LOG = ['session.pinned', 'connection.closed', 'client.closed'];
/** With only one connection no adversary can move anybody. */
const POOLS = isAdversarial() ? [4] : [1, 4];
/** Tens of megabytes in small pieces, or thousands of commands, would take an adversary minutes. */
const TOO_LARGE = /my20-(large|frames)|my45-many/;

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

/**
 * The EOF between columns and rows, which only an old client gets. Berth's own connection to the database does not have
 * it; and what it says of how the rows were found, of warnings and of further results, the end says again.
 */
const BEFORE_ROWS = /Column [^\n]*\n\w+ \d+ EOF [^\n]*/g;
const KNOWN_AT_THE_END =
  /\|(?:NO_INDEX_USED|NO_GOOD_INDEX_USED|MORE_RESULTS_EXISTS|METADATA_CHANGED|QUERY_WAS_SLOW|ANSI_QUOTES)| warnings=\d+/g;

/** That a statement has other columns than when it was prepared: each connection tells so once. */
const OF_CONNECTION = /\|METADATA_CHANGED/g;

/** All flags in that EOF are those of the answer before, when the end has not come with it. */
const FLAGS = / status=\S+.*/g;

function comparable(transcript: string): string {
  const uncertain = isAdversarial() ? FLAGS : KNOWN_AT_THE_END;
  return transcript
    .replaceAll(BEFORE_ROWS, (eof) => eof.replaceAll(uncertain, ''))
    .replaceAll(OF_CONNECTION, '');
}

test('there are cases, and their words are known', () => {
  expect(CASES.filter(({ name }) => name.startsWith('sql/')).length).toBeGreaterThanOrEqual(30);
  expect(CASES.filter(({ name }) => name.startsWith('raw/')).length).toBeGreaterThanOrEqual(20);
  const words = CASES.flatMap(({ capabilities }) => capabilities);
  expect(unusedDifferences(CASES)).toEqual([]);
  expect(words.filter((word) => !Object.hasOwn({ ...WORDS, ...MARIADB_WORDS }, word))).toEqual([]);
});

describeServers('conformance', (server) => {
  const database = useMysql(server, { settings: { max_allowed_packet: 64 * 1024 * 1024 } });
  const cases = CASES.filter(
    ({ name, products }) =>
      products.includes(server.product) && !(isAdversarial() && TOO_LARGE.test(name)),
  );
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
      for (const item of isAdversarial() ? [] : cases) {
        // The others are compared with what comes through the proxy.
        if (whyDifferent(item, server.product, isAdversarial()) === undefined) continue;
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

  for (const connections of POOLS) {
    describe(`through a pool of ${connections}`, () => {
      const berth = useBerth(() => ({
        configuration: makeMysqlConfiguration(database(), {
          pool: { MaxConnections: connections },
        }),
        expect: EXPECTED_LOG,
      }));
      useCompany(berth, connections === 1 ? 1 : 2);
      for (const item of cases.filter((each) => each.connections <= connections)) {
        for (const client of ['a client of today', 'an old client'] as const) {
          const why = whyDifferent(item, server.product, isAdversarial());
          const title = `${item.name} for ${client}`;
          if (why !== undefined) {
            test.todo(`${title}: ${why}`);
            continue;
          }
          test(
            title,
            async () => {
              const expected = await expectation(item, client);
              const actual = await play(item, client, { port: berth().port });
              expect(comparable(actual)).toBe(comparable(expected));
            },
            CASE_DEADLINE_MS,
          );
        }
      }
    });
  }
});

/** Other clients, which keep the pool's connections moving. */
function useCompany(berth: () => Berth, count: number): void {
  let isOver = false;
  const work = async () => {
    const options = { ...loginOf('app'), database: 'mysql', deadlineMs: CASE_DEADLINE_MS };
    const client = await MysqlRawClient.login({ port: berth().port }, options);
    while (!isOver) {
      mustSucceed(await client.query('begin; select 1; rollback'));
      mustSucceed(await client.query("select 'company'"));
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
