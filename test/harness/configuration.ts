/**
 * The configuration file of a proxy for tests: one database, the test users, and whatever a test wants
 * different. Plain objects, so that a test can also change anything before it is written.
 */

import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { TEST_USERS } from './postgres.ts';

type Properties = Readonly<Record<string, unknown>>;

export interface TestUser {
  readonly name: string;
  readonly password: string;
}

export interface ConfigurationOptions {
  /** The database behind the proxy; default: none, then `configuration` must be given to the proxy. */
  readonly database: EmbeddedPostgres;
  readonly users?: readonly TestUser[];
  /** Reach the database over its Unix socket. */
  readonly viaSocket?: boolean;
  /** Properties of ConnectionPoolConfig. */
  readonly pool?: Properties;
  /** Properties of the proxy, over the usual ones. */
  readonly proxy?: Properties;
  /** Properties of the file, over the usual ones. */
  readonly file?: Properties;
}

/** A configuration, before it is known where the proxy will listen. */
export interface Configuration extends Record<string, unknown> {
  readonly Api: Properties;
  readonly DBProxies: readonly Properties[];
}

/** The name of the proxy in a test's configuration. */
export const TEST_PROXY = 'orders';

export function makeConfiguration(options: ConfigurationOptions): Configuration {
  const { database, users = TEST_USERS, viaSocket = false, pool = {}, proxy = {} } = options;
  const Address = viaSocket ? database.socketDirectory : '127.0.0.1';
  return {
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true },
    DBInstances: [
      {
        DBInstanceIdentifier: 'orders-db',
        Engine: 'postgres',
        Endpoint: { Address, Port: database.port },
      },
    ],
    Secrets: users.map((user) => ({
      Name: user.name,
      SecretString: { username: user.name, password: user.password },
    })),
    DBProxies: [
      {
        DBProxyName: TEST_PROXY,
        EngineFamily: 'POSTGRESQL',
        Listen: '127.0.0.1:0',
        Auth: users.map((user) => ({ SecretArn: user.name })),
        TargetGroup: {
          DBInstanceIdentifiers: ['orders-db'],
          ConnectionPoolConfig: { MaxConnections: 4, ...pool },
        },
        ...proxy,
      },
    ],
    ...options.file,
  };
}

/** The configuration with a real port in place of each port 0: a proxy keeps its ports when it is restarted. */
export function withPorts(configuration: Configuration, takePort: () => number): Configuration {
  const taken = new Set<number>();
  const takeAnother = () => {
    let port = takePort();
    while (taken.has(port)) port = takePort();
    taken.add(port);
    return port;
  };
  const text = JSON.stringify(configuration, (key, value: unknown) => {
    if (key !== 'Listen' || typeof value !== 'string') return value;
    return value.replace(/:0$/, () => `:${takeAnother()}`);
  });
  return JSON.parse(text);
}
