/**
 * MySQL Router with connection sharing, the nearest that MySQL itself has to a pool.
 * https://dev.mysql.com/doc/mysql-router/en/router-connection-sharing.html
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isUnpacked, unpackedFolder } from '../../scripts/server-packages.ts';
import { commandIn } from '../../src/embedded/mysql-installation.ts';
import { freePort, LOOPBACK, startChild } from './child.ts';
import type { Subject, SubjectRequest } from './subject.ts';

type Command = readonly [string, ...string[]];

function mysqlrouter(): Command | undefined {
  if (Bun.which('mysqlrouter') !== null) return ['mysqlrouter'];
  return isUnpacked('mysql') ? commandIn(unpackedFolder('mysql'), 'mysqlrouter') : undefined;
}

export function mysqlrouterVersion(): string | undefined {
  const [file, ...args] = mysqlrouter() ?? [];
  if (file === undefined) return undefined;
  try {
    const text = execFileSync(file, [...args, '--version'], { encoding: 'utf8', stdio: 'pipe' });
    return text.trim();
  } catch {
    return undefined;
  }
}

export async function startMysqlrouter(request: SubjectRequest): Promise<Subject> {
  const [file, ...args] = mysqlrouter() ?? [];
  if (file === undefined) throw new Error('there is no mysqlrouter');
  const port = await freePort();
  const configFile = join(request.directory, 'mysqlrouter.conf');
  for (const folder of ['logs', 'run', 'data']) mkdirSync(join(request.directory, folder));
  writeFileSync(configFile, configuration(request, port));
  const logFile = join(request.directory, 'mysqlrouter.log');
  const child = await startChild({
    command: file,
    args: [...args, '-c', configFile],
    logFile,
    port,
  });
  return {
    name: 'mysqlrouter',
    version: mysqlrouterVersion() ?? 'MySQL Router',
    address: { host: LOOPBACK, port },
    pid: child.pid,
    metricsUrl: undefined,
    sessionsUrl: undefined,
    logFile,
    stop: () => child.stop(),
  };
}

function configuration(
  { database, directory, poolSize, clientsMax, tls }: SubjectRequest,
  port: number,
): string {
  const { address } = database;
  const plugins =
    Bun.which('mysqlrouter') === null
      ? [`plugin_folder=${join(unpackedFolder('mysql'), 'usr/lib/mysqlrouter/plugin')}`]
      : [];
  const clientTls =
    tls === undefined
      ? ['client_ssl_mode=DISABLED']
      : [
          'client_ssl_mode=REQUIRED',
          `client_ssl_cert=${tls.certificateFile}`,
          `client_ssl_key=${tls.privateKeyFile}`,
        ];
  const lines = [
    '[DEFAULT]',
    `logging_folder=${join(directory, 'logs')}`,
    `runtime_folder=${join(directory, 'run')}`,
    `data_folder=${join(directory, 'data')}`,
    ...plugins,
    `max_total_connections=${clientsMax}`,
    '[logger]',
    'level=WARNING',
    '[connection_pool]',
    `max_idle_server_connections=${poolSize}`,
    'idle_timeout=60',
    '[routing:bench]',
    `bind_address=${LOOPBACK}`,
    `bind_port=${port}`,
    `destinations=${address.host}:${address.port}`,
    'routing_strategy=first-available',
    'protocol=classic',
    'connection_sharing=1',
    'connection_sharing_delay=0',
    `max_connections=${clientsMax}`,
    ...clientTls,
    'server_ssl_mode=DISABLED',
  ];
  return `${lines.join('\n')}\n`;
}
