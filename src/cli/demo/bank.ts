/**
 * The bank, seen by the owner of the database: makes it, watches the connections, and checks at the
 * end that no money is lost. Its one connection goes over the Unix socket as the superuser, for whom
 * PostgreSQL keeps a few connections when all others are taken.
 */

import { SQL } from 'bun';
import { z } from 'zod';
import type { EmbeddedPostgres } from '../../embedded/postgres.ts';
import { BANK } from './plan.ts';

const TABLES = `
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
  ANALYZE`;

const COUNT_CONNECTIONS = `
  SELECT count(*)::int AS count FROM pg_stat_activity 
  WHERE usename = '${BANK.user}' AND datname = '${BANK.database}'`;

/** How many connections were ever made to the bank. */
const COUNT_SESSIONS = `
  SELECT sessions::int AS count FROM pg_stat_database WHERE datname = '${BANK.database}'`;

/** The total, how many transfers there are, and how many accounts disagree with theirs. */
const AUDIT = `
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
  FROM accounts LEFT JOIN changes ON changes.account = accounts.id`;

const QUIET_DEADLINE_MS = 10_000;
const QUIET_INTERVAL_MS = 20;

const countRows = z.tuple([z.object({ count: z.number() })]);
const auditRows = z.tuple([
  z.object({ total: z.number(), transfers: z.number(), wrong: z.number() }),
]);

/** What is in the books at the end. */
export interface Audit {
  readonly total: number;
  readonly transfers: number;
  /** Accounts whose balance is not what their transfers say. */
  readonly wrong: number;
}

export class Bank implements AsyncDisposable {
  /** In the bank's own database, to make and check the tables. */
  private readonly owner: SQL;
  /** In another database, so that it is not among the connections that it counts. */
  private readonly watcher: SQL;

  private constructor(postgres: EmbeddedPostgres) {
    this.owner = connection(postgres, BANK.database);
    this.watcher = connection(postgres, 'postgres');
  }

  static async open(postgres: EmbeddedPostgres): Promise<Bank> {
    const bank = new Bank(postgres);
    await bank.owner.unsafe(TABLES).simple();
    await bank.watcher.connect();
    return bank;
  }

  /** How many connections the clients, or Berth for them, have at this moment. */
  async countConnections(): Promise<number> {
    return countRows.parse(await rows(this.watcher, COUNT_CONNECTIONS))[0].count;
  }

  /** Resolves when the last of the clients' connections has ended. */
  async untilQuiet(): Promise<void> {
    const deadline = performance.now() + QUIET_DEADLINE_MS;
    while ((await this.countConnections()) > 0) {
      if (performance.now() > deadline) throw new Error("the clients' connections do not end");
      await Bun.sleep(QUIET_INTERVAL_MS);
    }
  }

  /** How many connections have been made since the beginning. */
  async countSessions(): Promise<number> {
    return countRows.parse(await rows(this.watcher, COUNT_SESSIONS))[0].count;
  }

  async audit(): Promise<Audit> {
    return auditRows.parse(await rows(this.owner, AUDIT))[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const connections = [this.owner, this.watcher];
    await Promise.allSettled(connections.map((each) => each.close({ timeout: 0 })));
  }
}

async function rows(sql: SQL, statement: string): Promise<unknown> {
  const result: unknown = await sql.unsafe(statement).simple();
  return Array.isArray(result) ? [...result] : result;
}

function connection(postgres: EmbeddedPostgres, database: string): SQL {
  return new SQL({
    adapter: 'postgres',
    path: `${postgres.socketDirectory}/.s.PGSQL.${postgres.port}`,
    username: 'postgres',
    database,
    tls: false,
    max: 1,
  });
}
