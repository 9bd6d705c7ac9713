/**
 * The configuration file of a proxy for tests before a MySQL or MariaDB: one database, the test users, and
 * whatever a test wants different.
 */

import type { EmbeddedMysql } from '../../../src/embedded/mysql.ts';
import { type Configuration, TEST_PROXY, type TestUser } from '../configuration.ts';
import { MYSQL_USERS } from './server.ts';

type Properties = Readonly<Record<string, unknown>>;

export interface MysqlConfigurationOptions {
  readonly users?: readonly TestUser[];
  /** How all of them are asked for their passwords; default: as the target would. */
  readonly passwordType?: 'MYSQL_CACHING_SHA2_PASSWORD' | 'MYSQL_NATIVE_PASSWORD';
  /** Reach the database over its Unix socket. */
  readonly viaSocket?: boolean;
  /** Where the database is reached instead of at its own port. */
  readonly port?: number;
  /** Properties of the database's Tls. */
  readonly databaseTls?: Properties;
  /** Properties of ConnectionPoolConfig. */
  readonly pool?: Properties;
  /** Properties of the proxy, over the usual ones. */
  readonly proxy?: Properties;
  /** Properties of the file, over the usual ones. */
  readonly file?: Properties;
}

/** A secret must have a password. */
const USERS = MYSQL_USERS.filter(({ password }) => password !== '');

export function makeMysqlConfiguration(
  database: EmbeddedMysql,
  options: MysqlConfigurationOptions = {},
): Configuration {
  const { users = USERS, viaSocket = false, passwordType, databaseTls: Tls } = options;
  const type = passwordType === undefined ? {} : { ClientPasswordAuthType: passwordType };
  return {
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true },
    DBInstances: [
      {
        DBInstanceIdentifier: 'orders-db',
        Engine: database.product === 'MySQL' ? 'mysql' : 'mariadb',
        Endpoint: {
          Address: viaSocket ? database.socketPath : '127.0.0.1',
          Port: options.port ?? database.port,
        },
        ...(Tls === undefined ? {} : { Tls }),
      },
    ],
    Secrets: users.map((user) => ({
      Name: user.name,
      SecretString: { username: user.name, password: user.password },
    })),
    DBProxies: [
      {
        DBProxyName: TEST_PROXY,
        EngineFamily: 'MYSQL',
        Listen: '127.0.0.1:0',
        Auth: users.map((user) => ({ SecretArn: user.name, ...type })),
        TargetGroup: {
          DBInstanceIdentifiers: ['orders-db'],
          ConnectionPoolConfig: { MaxConnections: 4, ...options.pool },
        },
        ...options.proxy,
      },
    ],
    ...options.file,
  };
}
