/**
 * PgBouncer, configured as its users run it in front of an application: transaction pooling, SCRAM
 * on both sides, TLS only where Berth has it. `PGBOUNCER` names the program; without it, the one on the search path.
 * PgBouncer refuses to run as root, so root makes it switch to the database's own account.
 */

import { execFileSync } from 'node:child_process';
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, LOOPBACK, startChild } from './child.ts';
import type { Subject, SubjectRequest } from './subject.ts';

/** What a client may prepare by name: as many as Berth's tests use, and then some. */
const PREPARED_STATEMENTS_MAX = 200;
/** The first release that knows prepared statements; older ones refuse the setting. */
const PREPARED_STATEMENTS_SINCE = 1.21;

export function pgbouncerVersion(command: string): string | undefined {
  try {
    return execFileSync(command, ['--version'], { encoding: 'utf8' }).split('\n')[0];
  } catch {
    return undefined;
  }
}

export async function startPgbouncer(request: SubjectRequest, command: string): Promise<Subject> {
  const port = await freePort();
  const configFile = join(request.directory, 'pgbouncer.ini');
  const usersFile = join(request.directory, 'pgbouncer-users.txt');
  const { user, password } = request.database.credentials;
  writeFileSync(usersFile, `"${user}" "${password}"\n`);
  const version = pgbouncerVersion(command) ?? 'PgBouncer';
  writeFileSync(configFile, configuration(request, port, usersFile, version));
  for (const file of [configFile, usersFile]) chmodSync(file, 0o644);
  const logFile = join(request.directory, 'pgbouncer.log');
  const child = await startChild({
    command,
    args: [configFile],
    logFile,
    port,
  });
  return {
    name: 'pgbouncer',
    version,
    address: { host: LOOPBACK, port },
    pid: child.pid,
    metricsUrl: undefined,
    sessionsUrl: undefined,
    logFile,
    stop: () => child.stop(),
  };
}

function configuration(
  request: SubjectRequest,
  port: number,
  usersFile: string,
  version: string,
): string {
  const { address, account } = request.database;
  const lines = [
    '[databases]',
    `* = host=${address.host} port=${address.port}`,
    '[pgbouncer]',
    `listen_addr = ${LOOPBACK}`,
    `listen_port = ${port}`,
    'unix_socket_dir =',
    'auth_type = scram-sha-256',
    `auth_file = ${usersFile}`,
    'pool_mode = transaction',
    `default_pool_size = ${request.poolSize}`,
    `max_client_conn = ${request.clientsMax}`,
    ...(knowsPreparedStatements(version)
      ? [`max_prepared_statements = ${PREPARED_STATEMENTS_MAX}`]
      : []),
    ...tlsLines(request.tls),
    'query_wait_timeout = 120',
    'log_connections = 0',
    'log_disconnections = 0',
    'log_pooler_errors = 0',
  ];
  if (account !== undefined) lines.push(`user = ${account}`);
  return `${lines.join('\n')}\n`;
}

function tlsLines(tls: SubjectRequest['tls']): string[] {
  if (tls === undefined) return [];
  return [
    'client_tls_sslmode = require',
    `client_tls_cert_file = ${tls.certificateFile}`,
    `client_tls_key_file = ${tls.privateKeyFile}`,
  ];
}

/** `PgBouncer 1.26.1` and the like. */
function knowsPreparedStatements(version: string): boolean {
  const [, major, minor] = /(\d+)\.(\d+)/.exec(version) ?? [];
  return Number(`${major}.${minor}`) >= PREPARED_STATEMENTS_SINCE;
}
