/** Berth as its users start it: `bin/berth serve --config FILE`, one proxy, one process. */

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, LOOPBACK, startChild } from './child.ts';
import type { DatabaseBehind, Subject, SubjectRequest } from './subject.ts';

const ROOT = join(import.meta.dirname, '..', '..');
/** Berth's defaults. */
const IDLE_CLIENT_S = 1_800;
const BORROW_S = 120;
const BORROWED_IDLE_S = 300;
const IDLE_CONNECTION_S = 1_800;
const LAUNCHER = join(ROOT, 'bin', 'berth');

/** How clients log in: as the engine's own clients do. */
const FAMILIES: Readonly<
  Record<DatabaseBehind['engine'], { readonly family: string; readonly password: string }>
> = {
  postgres: { family: 'POSTGRESQL', password: 'POSTGRES_SCRAM_SHA_256' },
  mysql: { family: 'MYSQL', password: 'MYSQL_CACHING_SHA2_PASSWORD' },
  mariadb: { family: 'MYSQL', password: 'MYSQL_NATIVE_PASSWORD' },
};

export function hasBerth(): boolean {
  return existsSync(LAUNCHER);
}

export async function startBerth(request: SubjectRequest): Promise<Subject> {
  const port = await freePort();
  const apiPort = await freePort();
  const configFile = join(request.directory, 'berth.yaml');
  writeFileSync(configFile, configuration(request, port, apiPort));
  const logFile = join(request.directory, 'berth.log');
  const child = await startChild({
    command: LAUNCHER,
    args: ['serve', '--config', configFile],
    logFile,
    port,
  });
  return {
    name: 'berth',
    version: version(),
    address: { host: LOOPBACK, port },
    pid: child.pid,
    metricsUrl: `http://${LOOPBACK}:${apiPort}/metrics`,
    sessionsUrl: `http://${LOOPBACK}:${apiPort}/sessions`,
    logFile,
    stop: () => child.stop(),
  };
}

function configuration(request: SubjectRequest, port: number, apiPort: number): string {
  const { address, credentials, engine } = request.database;
  const { family, password } = FAMILIES[engine];
  const { tls, haste = 1 } = request;
  const seconds = (usual: number) => Math.max(Math.round(usual / haste), 1);
  const files =
    tls && `{ CertificateFile: ${tls.certificateFile}, PrivateKeyFile: ${tls.privateKeyFile} }`;
  return `Tls: ${files ?? '{}'}
Api: { Listen: "${LOOPBACK}:${apiPort}", AllowAnonymous: ${request.principal === undefined} }
${principals(request)}
StateDirectory: ${join(request.directory, 'state')}
DBInstances:
  - DBInstanceIdentifier: bench-db
    Engine: ${engine}
    Endpoint: { Address: ${address.host}, Port: ${address.port} }
Secrets:
  - Name: bench
    SecretString: { username: ${credentials.user}, password: ${credentials.password} }
DBProxies:
  - DBProxyName: bench
    EngineFamily: ${family}
    Listen: "${LOOPBACK}:${port}"
    RequireTLS: ${tls !== undefined}
    MaxClientConnections: ${request.clientsMax}
    IdleClientTimeout: ${seconds(IDLE_CLIENT_S)}
    Auth:
      - AuthScheme: SECRETS
        SecretArn: bench
        IAMAuth: ${request.isIam === true ? 'REQUIRED' : 'DISABLED'}
        ClientPasswordAuthType: ${password}
    TargetGroup:
      DBInstanceIdentifiers: [bench-db]
      ConnectionPoolConfig:
        MaxConnectionsPercent: 100
        MaxConnections: ${request.poolSize}
        ConnectionBorrowTimeout: ${seconds(BORROW_S)}
        BorrowedIdleTimeout: ${seconds(BORROWED_IDLE_S)}
        DatabaseConnectionIdleTimeout: ${seconds(IDLE_CONNECTION_S)}
`;
}

/** One who may do everything. */
function principals({ principal }: SubjectRequest): string {
  if (principal === undefined) return 'Principals: []';
  const { accessKeyId, secretAccessKey } = principal;
  return `Principals:
  - UserName: bench
    AccessKeys: [{ AccessKeyId: ${accessKeyId}, SecretAccessKey: ${secretAccessKey} }]
    Policies:
      - PolicyName: all
        PolicyDocument: { Statement: [{ Effect: Allow, Action: "*", Resource: "*" }] }`;
}

function version(): string {
  const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    version: string;
  };
  return `Berth ${version}${revision()} on Bun ${Bun.version}`;
}

function revision(): string {
  try {
    const options = { cwd: ROOT, encoding: 'utf8', stdio: 'pipe' } as const;
    return ` (${execFileSync('git', ['describe', '--always', '--dirty'], options).trim()})`;
  } catch {
    return '';
  }
}
