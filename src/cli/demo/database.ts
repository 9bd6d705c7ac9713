/** The real, throwaway database of the demo: PostgreSQL from the npm package, or the machine's own MariaDB. */

import { SQL } from 'bun';
import { EmbeddedMysql } from '../../embedded/mysql.ts';
import { findInstalled } from '../../embedded/mysql-installation.ts';
import { EmbeddedPostgres } from '../../embedded/postgres.ts';
import { DIALECTS, type Dialect } from './dialect.ts';
import { BANK, type DemoEngine } from './plan.ts';

const HOW_TO_GET_MARIADB =
  'there is no MariaDB server on this machine. Debian and Ubuntu have it in the package mariadb-server ' +
  '(apt-get install mariadb-server), Fedora too (dnf), macOS by brew install mariadb';

export interface DemoDatabase extends AsyncDisposable {
  readonly dialect: Dialect;
  readonly version: string;
  readonly port: number;
  /** Everything of it is in here. */
  readonly folder: string;
  readonly log: string;
  /** Resolves when it has ended, for whatever reason. */
  readonly exited: Promise<void>;
  /** A connection as the superuser, past everybody's limits. */
  connect(database: string): SQL;
}

export function startDatabase(engine: DemoEngine, password: string): Promise<DemoDatabase> {
  return START[engine](password);
}

const START: Readonly<Record<DemoEngine, (password: string) => Promise<DemoDatabase>>> = {
  postgres: startPostgres,
  mariadb: startMariadb,
};

async function startPostgres(password: string): Promise<DemoDatabase> {
  const dialect = DIALECTS.postgres;
  const postgres = await EmbeddedPostgres.start({
    users: [{ name: BANK.user, password }],
    databases: [{ name: BANK.database }],
    authentication: { hostnossl: 'scram-sha-256', local: 'reject' },
    settings: { max_connections: dialect.connectionsMax },
  });
  const path = `${postgres.socketDirectory}/.s.PGSQL.${postgres.port}`;
  const { version, port, folder, exited } = postgres;
  return {
    dialect,
    version,
    port,
    folder,
    exited,
    get log() {
      return postgres.log;
    },
    connect: (database) =>
      new SQL({ adapter: 'postgres', path, username: 'postgres', database, tls: false, max: 1 }),
    [Symbol.asyncDispose]: () => postgres.stop(),
  };
}

async function startMariadb(password: string): Promise<DemoDatabase> {
  const dialect = DIALECTS.mariadb;
  const installation = findInstalled('MariaDB');
  if (installation === undefined) throw new Error(HOW_TO_GET_MARIADB);
  const mariadb = await EmbeddedMysql.start({
    installation,
    users: [{ name: BANK.user, password, grants: [`ALL ON ${BANK.database}.*`] }],
    databases: [BANK.database],
    settings: { max_connections: dialect.connectionsMax },
  });
  const { port, folder, exited, socketPath: path } = mariadb;
  const [version = mariadb.version] = mariadb.version.split('-');
  return {
    dialect,
    version,
    port,
    folder,
    exited,
    get log() {
      return mariadb.log;
    },
    connect: (database) =>
      new SQL({ adapter: 'mysql', path, username: 'root', database, tls: false, max: 1 }),
    [Symbol.asyncDispose]: () => mariadb.stop(),
  };
}
