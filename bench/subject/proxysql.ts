/** ProxySQL, where the search path has it: no distribution's package is installed for it. One worker thread. */

import { execFileSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, LOOPBACK, startChild } from './child.ts';
import type { Subject, SubjectRequest } from './subject.ts';

export function proxysqlVersion(): string | undefined {
  try {
    return execFileSync('proxysql', ['--version'], { encoding: 'utf8', stdio: 'pipe' }).trim();
  } catch {
    return undefined;
  }
}

export async function startProxysql(request: SubjectRequest): Promise<Subject> {
  const port = await freePort();
  const adminPort = await freePort();
  const { directory, tls } = request;
  const configFile = join(directory, 'proxysql.cnf');
  writeFileSync(configFile, configuration(request, port, adminPort));
  // It takes its certificate from these names in its folder.
  if (tls !== undefined) {
    copyFileSync(tls.certificateFile, join(directory, 'proxysql-cert.pem'));
    copyFileSync(tls.certificateFile, join(directory, 'proxysql-ca.pem'));
    copyFileSync(tls.privateKeyFile, join(directory, 'proxysql-key.pem'));
  }
  const logFile = join(directory, 'proxysql.log');
  const args = ['-f', '-D', directory, '-c', configFile, '--initial'];
  const child = await startChild({ command: 'proxysql', args, logFile, port });
  return {
    name: 'proxysql',
    version: proxysqlVersion() ?? 'ProxySQL',
    address: { host: LOOPBACK, port },
    pid: child.pid,
    metricsUrl: undefined,
    sessionsUrl: undefined,
    logFile,
    stop: () => child.stop(),
  };
}

function configuration(request: SubjectRequest, port: number, adminPort: number): string {
  const { database, poolSize, clientsMax, tls } = request;
  const { address, credentials } = database;
  return `datadir="${request.directory}"
admin_variables = { mysql_ifaces="${LOOPBACK}:${adminPort}" }
mysql_variables = {
  threads=1
  interfaces="${LOOPBACK}:${port}"
  max_connections=${clientsMax}
  monitor_enabled=false
  have_ssl=${tls !== undefined}
}
mysql_servers = ({ address="${address.host}", port=${address.port}, hostgroup=0, max_connections=${poolSize} })
mysql_users = ({ username="${credentials.user}", password="${credentials.password}", default_hostgroup=0, default_schema="${credentials.database}" })
`;
}
