/** The one MariaDB or MySQL that all subjects of a run stand in front of: a throwaway with durability off. */

import { findServer } from '../../scripts/server-packages.ts';
import { EmbeddedMysql, type MysqlInstallation } from '../../src/embedded/mysql.ts';
import { findInstalled } from '../../src/embedded/mysql-installation.ts';
import { MysqlRawClient } from '../../test/harness/mysql/raw-client.ts';
import type { MysqlServerName } from '../options.ts';
import type { DatabaseBehind } from '../subject/subject.ts';

const USER = 'bench';
const PASSWORD = 'bench-password';
/** The largest number of direct clients, and room for the pools of the subjects. */
const MAX_CONNECTIONS = 400;

export interface MysqlDatabase extends DatabaseBehind, AsyncDisposable {}

const FIND: Readonly<Record<MysqlServerName, () => MysqlInstallation | undefined>> = {
  mariadb: () => findInstalled('MariaDB'),
  mysql: () => findServer('mysql') ?? findInstalled('MySQL'),
};

const HINTS: Readonly<Record<MysqlServerName, string>> = {
  mariadb: 'there is no MariaDB server on this machine; the package mariadb-server has one',
  mysql: 'there is no MySQL server on this machine; npm run servers installs one',
};

export async function startMysqlDatabase(engine: MysqlServerName): Promise<MysqlDatabase> {
  const installation = FIND[engine]();
  if (installation === undefined) throw new Error(HINTS[engine]);
  const server = await EmbeddedMysql.start({
    installation,
    users: [{ name: USER, password: PASSWORD }],
    databases: [USER],
    settings: {
      max_connections: MAX_CONNECTIONS,
      innodb_buffer_pool_size: '512M',
      performance_schema: false,
    },
  });
  // From here on the server knows the password's hash, so nobody has to send it more than that.
  const login = { user: USER, password: PASSWORD, database: USER };
  (await MysqlRawClient.login({ socketPath: server.socketPath }, login)).destroy();
  return {
    version: `${server.product} ${server.version}`,
    engine,
    address: { host: '127.0.0.1', port: server.port },
    credentials: { user: USER, password: PASSWORD, database: USER },
    account: installation.account?.name,
    [Symbol.asyncDispose]: () => server.stop(),
  };
}
