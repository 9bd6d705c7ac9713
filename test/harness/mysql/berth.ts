/** Proxies before a MySQL or MariaDB, for tests that want several, each configured in its own way. */

import { afterEach } from 'bun:test';
import type { EmbeddedMysql } from '../../../src/embedded/mysql.ts';
import { Berth, type BerthOptions, type LogPattern } from '../berth.ts';
import { eventually } from '../polling.ts';
import type { Part } from './answers.ts';
import { type MysqlConfigurationOptions, makeMysqlConfiguration } from './configuration.ts';
import { type MysqlLoginOptions, MysqlRawClient, MysqlServerError } from './raw-client.ts';
import { loginOf, mysqlAdmin } from './server.ts';

export interface MysqlBerthOptions
  extends MysqlConfigurationOptions,
    Pick<BerthOptions, 'expect' | 'files' | 'adversary' | 'openFilesMax'> {}

/** Makes a function that starts a proxy; it is stopped, and its log judged, after the test. */
export function useMysqlBerths(
  database: () => EmbeddedMysql,
): (options?: MysqlBerthOptions) => Promise<Berth> {
  const berths: Berth[] = [];
  afterEach(async () => {
    for (const berth of berths.splice(0)) await berth.stop();
  });
  return async ({ expect = [], files = {}, ...options } = {}) => {
    const configuration = makeMysqlConfiguration(database(), options);
    const berth = await Berth.start({ configuration, expect, files, ...pick(options) });
    berths.push(berth);
    return berth;
  };
}

function pick({ adversary, openFilesMax }: MysqlBerthOptions) {
  return {
    ...(adversary === undefined ? {} : { adversary }),
    ...(openFilesMax === undefined ? {} : { openFilesMax }),
  };
}

/** Logs in through the proxy. Default: the user `app`, in the database `app`. */
export function loginThrough(
  berth: Berth,
  { port = berth.port, ...options }: Partial<MysqlLoginOptions> & { readonly port?: number } = {},
): Promise<MysqlRawClient> {
  return MysqlRawClient.login({ port }, { ...loginOf(options.user), ...options });
}

/** What a login that is refused is told. */
export async function refusalOf(login: Promise<MysqlRawClient>): Promise<string> {
  const outcome = await login.catch((error: unknown) => error);
  if (outcome instanceof MysqlServerError) return outcome.message;
  if (outcome instanceof MysqlRawClient) outcome.destroy();
  return `not refused: ${outcome}`;
}

/** The codes of the errors in an answer. */
export function errorsOf(parts: readonly Part[]): number[] {
  return parts.flatMap((part) => (part.kind === 'error' ? [part.code] : []));
}

export function closedFor(reason: string): LogPattern {
  return (line) => line.event === 'client.closed' && line.reason === reason;
}

export function connectionClosedFor(reason: string): LogPattern {
  return (line) => line.event === 'connection.closed' && line.reason === reason;
}

/** Resolves when the database runs a statement that contains `text`, past any proxy. */
export async function untilRunning(database: EmbeddedMysql, text: string): Promise<void> {
  const sql = `select id from information_schema.processlist
    where id <> connection_id() and instr(coalesce(info, ''), '${text}') > 0`;
  await eventually(
    async () => ((await mysqlAdmin(database, sql)).length > 0 ? true : undefined),
    `the database runs ${text}`,
  );
}
