/**
 * The one PostgreSQL that all subjects of a run stand in front of: a throwaway with durability off,
 * so that the disk does not decide a comparison of proxies. Clients and proxies log in as one user
 * with SCRAM; the floor has a user of its own without a password. Direct look-ups use the superuser.
 */

import pg from 'pg';
import { EmbeddedPostgres } from '../src/embedded/postgres.ts';
import type { DatabaseBehind } from './subject/subject.ts';

export const FLOOR_USER = 'floor';
/** The name of Berth's own connection to a target, which is not part of the pool. */
export const MONITOR_NAME = 'berth-monitor';
/** The name of the connection that listens for Berth's clients. It is one of those a proxy may have. */
export const LISTENER_NAME = 'berth-listener';
/** What a proxy's connections call themselves that are not of its pools. */
export const UNPOOLED_NAMES: readonly string[] = [MONITOR_NAME, LISTENER_NAME];

const USER = 'bench';
const PASSWORD = 'bench-password';
/** The largest number of direct clients, and room for the pools of four subjects. */
const MAX_CONNECTIONS = 400;

export interface DatabaseOptions {
  /** Folder of `initdb` and `postgres`; the project's own PostgreSQL 18 when undefined. */
  readonly binDirectory: string | undefined;
}

export interface Database extends DatabaseBehind {
  /** A direct connection as superuser. */
  readonly admin: pg.Client;
  stop(): Promise<void>;
}

export async function startDatabase(options: DatabaseOptions): Promise<Database> {
  const { binDirectory } = options;
  const postgres = await EmbeddedPostgres.start({
    ...(binDirectory === undefined ? {} : { binDirectory }),
    users: [
      { name: USER, password: PASSWORD, method: 'scram-sha-256' },
      { name: FLOOR_USER, method: 'trust' },
    ],
    databases: [{ name: USER }],
    settings: {
      max_connections: MAX_CONNECTIONS,
      shared_buffers: '512MB',
      max_wal_size: '8GB',
      checkpoint_timeout: '1h',
    },
  });
  const admin = new pg.Client({ connectionString: postgres.url('postgres', USER) });
  await admin.connect();
  return {
    version: postgres.version,
    engine: 'postgres',
    address: { host: '127.0.0.1', port: postgres.port },
    credentials: { user: USER, password: PASSWORD, database: USER },
    account: postgres.installation.account?.name,
    admin,
    stop: async () => {
      await admin.end();
      await postgres.stop();
    },
  };
}

/** The floor asks as a user of its own, to whom no table belongs. */
export async function letFloorRead({ admin }: Database): Promise<void> {
  await admin.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${FLOOR_USER}`);
}

/** One number from a query that returns one. */
export async function numberFrom(
  database: Database,
  sql: string,
  parameters: readonly unknown[] = [],
): Promise<number> {
  const result = await database.admin.query<Record<string, unknown>>(sql, [...parameters]);
  const [value] = Object.values(result.rows[0] ?? {});
  return Number(value);
}
