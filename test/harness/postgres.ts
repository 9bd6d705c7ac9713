/**
 * Databases for tests. A test file asks for one with `usePostgres` and gets a real PostgreSQL of its
 * own, started before its tests and thrown away after them. Finished data directories are shared
 * within a test run, by way of the folder in BERTH_TEST_TEMPLATES (scripts/test.ts makes it).
 */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { EmbeddedPostgres, type EmbeddedPostgresOptions } from '../../src/embedded/postgres.ts';
import { columnNames, errorFields, textRows } from './backend-messages.ts';
import { type Address, RawClient } from './raw-client.ts';
import { useShared } from './shared.ts';

/** Starting a database or a proxy, on a machine that is busy with other tests. */
export const START_DEADLINE_MS = 60_000;

/** The users of a test database unless it says otherwise. `app` owns the database `app`. */
export const TEST_USERS = [
  { name: 'app', password: 'app-password' },
  { name: 'other', password: 'other-password' },
] as const;

const TEST_OPTIONS: EmbeddedPostgresOptions = {
  users: TEST_USERS,
  databases: [{ name: 'app' }, { name: 'second' }],
  settings: { max_prepared_transactions: 10 },
};

/** A row of `adminQuery`: column name to text. */
export type Row = Readonly<Record<string, string | null>>;

/** Starts a database for a test. The caller stops it. */
export function startPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const templateDirectory = process.env.BERTH_TEST_TEMPLATES;
  return EmbeddedPostgres.start({
    ...TEST_OPTIONS,
    ...(templateDirectory === undefined ? {} : { templateDirectory }),
    ...options,
    settings: { ...TEST_OPTIONS.settings, ...options.settings },
  });
}

/** One database for all tests of the file or `describe` that calls it. Call the result inside tests. */
export function usePostgres(options: EmbeddedPostgresOptions = {}): () => EmbeddedPostgres {
  return useShared({
    name: 'the database',
    start: () => startPostgres(options),
    stop: (database) => database.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
}

/** The database's address, over TCP. */
export function addressOf(database: EmbeddedPostgres): Address {
  return { port: database.port };
}

/** Runs SQL as the superuser, past any proxy. Rejects with the database's own error. */
export async function adminQuery(
  database: EmbeddedPostgres,
  sql: string,
  databaseName = 'app',
): Promise<Row[]> {
  const { port, socketDirectory } = database;
  const login = { user: 'postgres', database: databaseName };
  using client = await RawClient.login({ port, socketDirectory }, login);
  const messages = await client.query(sql);
  const error = messages.find(({ type }) => type === 'E');
  if (error !== undefined) throw new Error(`${errorFields(error).get('M')}: ${sql}`);
  const description = messages.findLast(({ type }) => type === 'T');
  const names = description === undefined ? [] : columnNames(description);
  return textRows(messages).map((values) =>
    Object.fromEntries(names.map((name, index) => [name, values[index] ?? null])),
  );
}

/** A PostgreSQL that a test can use, by a name for the test's title. */
export interface PostgresChoice {
  readonly name: string;
  readonly options: EmbeddedPostgresOptions;
}

const DISTRIBUTION_FOLDER = '/usr/lib/postgresql';

/** The packaged PostgreSQL, then those that the machine itself has. */
export function availablePostgres(): PostgresChoice[] {
  const choices: PostgresChoice[] = [{ name: 'PostgreSQL 18', options: {} }];
  if (!existsSync(DISTRIBUTION_FOLDER)) return choices;
  for (const version of readdirSync(DISTRIBUTION_FOLDER)) {
    const binDirectory = join(DISTRIBUTION_FOLDER, version, 'bin');
    if (!existsSync(join(binDirectory, 'initdb'))) continue;
    choices.push({ name: `PostgreSQL ${version}`, options: { binDirectory } });
  }
  return choices;
}
