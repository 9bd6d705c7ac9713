/**
 * What differs between the databases of the demo, as data: the SQL of the bank, what counts as a connection,
 * what a client may do that belongs to its session alone, and how a person connects. The process of the clients
 * has it too.
 */

import { SQL } from 'bun';
import { BANK, type DemoEngine } from './plan.ts';

/** What a client is up to. All but customers do something that belongs to their session alone. */
export type Role = 'customer' | 'temporary table' | 'lock' | 'listen';

export interface Dialect {
  readonly engine: DemoEngine;
  readonly product: string;
  /** As Bun's client calls it, and as a URL begins. */
  readonly adapter: 'postgres' | 'mysql';
  /** What the product allows by default. */
  readonly connectionsMax: number;
  /** One of each comes in the middle of every wave. */
  readonly specialRoles: readonly Role[];
  readonly tables: string;
  /** How many connections the clients, or Berth for them, have at this moment. */
  readonly countConnections: string;
  /** How many connections were ever made for the clients. */
  readonly countSessions: string;
  /** The total, how many transfers there are, and how many accounts disagree with theirs. */
  readonly audit: string;
  readonly collect: readonly string[];
  readonly lock: (key: number) => string;
  readonly unlock: (key: number) => string;
  /** Whether an error says that there are too many connections. */
  readonly isRefusal: (error: unknown) => boolean;
  /** A line for a shell. */
  readonly tryIt: (user: string, password: string, port: number) => string;
  readonly proxy: {
    readonly family: 'POSTGRESQL' | 'MYSQL';
    readonly password: 'POSTGRES_SCRAM_SHA_256' | 'MYSQL_NATIVE_PASSWORD';
  };
}

/** PostgreSQL's SQLSTATE `too_many_connections`. */
const TOO_MANY_CONNECTIONS = '53300';
/** MySQL's error ER_CON_COUNT_ERROR. */
const CONNECTION_COUNT_ERROR = 1040;

const POSTGRES: Dialect = {
  engine: 'postgres',
  product: 'PostgreSQL',
  adapter: 'postgres',
  connectionsMax: 100,
  specialRoles: ['temporary table', 'lock', 'listen'],
  tables: `
    CREATE TABLE accounts (
      id int PRIMARY KEY,
      balance bigint NOT NULL
    ) WITH (fillfactor = 50);
    CREATE TABLE transfers (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      sender int NOT NULL,
      receiver int NOT NULL,
      amount bigint NOT NULL
    );
    INSERT INTO accounts SELECT id, ${BANK.balance} FROM generate_series(1, ${BANK.accounts}) AS id;
    GRANT SELECT, UPDATE ON accounts TO ${BANK.user};
    GRANT SELECT, INSERT ON transfers TO ${BANK.user};
    ANALYZE`,
  countConnections: `
    SELECT count(*)::int AS count FROM pg_stat_activity
    WHERE usename = '${BANK.user}' AND datname = '${BANK.database}'`,
  countSessions: `
    SELECT sessions::int AS count FROM pg_stat_database WHERE datname = '${BANK.database}'`,
  audit: `
    WITH changes AS (
      SELECT account, sum(change) AS change FROM (
        SELECT sender AS account, -amount AS change FROM transfers
        UNION ALL
        SELECT receiver, amount FROM transfers
      ) AS entries GROUP BY account
    )
    SELECT
      sum(balance)::int AS total,
      (SELECT count(*)::int FROM transfers) AS transfers,
      (count(*) FILTER (WHERE balance <> ${BANK.balance} + coalesce(change, 0)))::int AS wrong
    FROM accounts LEFT JOIN changes ON changes.account = accounts.id`,
  collect: [
    'CREATE TEMPORARY TABLE basket (account int, balance bigint)',
    'INSERT INTO basket SELECT id, balance FROM accounts LIMIT 100',
    'SELECT sum(balance) FROM basket',
  ],
  lock: (key) => `SELECT pg_advisory_lock(${key})`,
  unlock: (key) => `SELECT pg_advisory_unlock(${key})`,
  isRefusal: (error) => error instanceof SQL.PostgresError && error.errno === TOO_MANY_CONNECTIONS,
  tryIt: (user, password, port) =>
    `psql "postgresql://${user}:${password}@127.0.0.1:${port}/${BANK.database}"`,
  proxy: { family: 'POSTGRESQL', password: 'POSTGRES_SCRAM_SHA_256' },
};

/** Berth's own connection, by which it watches the database, says so when it logs in. */
const WATCHERS = `
  SELECT processlist_id FROM performance_schema.session_connect_attrs
  WHERE attr_name = 'program_name' AND attr_value = 'berth-monitor'`;

const MARIADB: Dialect = {
  engine: 'mariadb',
  product: 'MariaDB',
  adapter: 'mysql',
  connectionsMax: 151,
  specialRoles: ['temporary table', 'lock'],
  tables: `
    CREATE TABLE accounts (id int PRIMARY KEY, balance bigint NOT NULL);
    CREATE TABLE transfers (
      id bigint AUTO_INCREMENT PRIMARY KEY,
      sender int NOT NULL,
      receiver int NOT NULL,
      amount bigint NOT NULL
    );
    INSERT INTO accounts SELECT seq, ${BANK.balance} FROM seq_1_to_${BANK.accounts};
    ANALYZE TABLE accounts`,
  countConnections: `
    SELECT count(*) AS count FROM information_schema.processlist
    WHERE user = '${BANK.user}' AND id NOT IN (${WATCHERS})`,
  countSessions: `
    SELECT CAST(coalesce(sum(total_connections), 0) AS int) - (SELECT count(*) FROM (${WATCHERS}) AS watchers) AS count
    FROM performance_schema.users WHERE user = '${BANK.user}'`,
  audit: `
    WITH changes AS (
      SELECT account, sum(delta) AS delta FROM (
        SELECT sender AS account, -amount AS delta FROM transfers
        UNION ALL
        SELECT receiver, amount FROM transfers
      ) AS entries GROUP BY account
    )
    SELECT
      CAST(sum(balance) AS int) AS total,
      (SELECT count(*) FROM transfers) AS transfers,
      CAST(sum(balance <> ${BANK.balance} + coalesce(delta, 0)) AS int) AS wrong
    FROM accounts LEFT JOIN changes ON changes.account = accounts.id`,
  collect: [
    'CREATE TEMPORARY TABLE basket (account int, balance bigint)',
    'INSERT INTO basket SELECT id, balance FROM accounts LIMIT 100',
    'SELECT sum(balance) FROM basket',
  ],
  lock: (key) => `SELECT get_lock('account ${key}', 10)`,
  unlock: (key) => `SELECT release_lock('account ${key}')`,
  isRefusal: (error) =>
    error instanceof SQL.MySQLError && Number(error.errno) === CONNECTION_COUNT_ERROR,
  tryIt: (user, password, port) =>
    `mariadb --host=127.0.0.1 --port=${port} --user=${user} --password=${password} ${BANK.database}`,
  proxy: { family: 'MYSQL', password: 'MYSQL_NATIVE_PASSWORD' },
};

export const DIALECTS: Readonly<Record<DemoEngine, Dialect>> = {
  postgres: POSTGRES,
  mariadb: MARIADB,
};
