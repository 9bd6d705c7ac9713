/**
 * The bank, seen by the owner of the database: makes it, watches the connections, and checks at the
 * end that no money is lost. Its connections go over the Unix socket as the superuser, and are made before any other.
 */

import type { SQL } from 'bun';
import { z } from 'zod';
import type { DemoDatabase } from './database.ts';
import type { Dialect } from './dialect.ts';
import { BANK } from './plan.ts';

/** There on every server. */
const SYSTEM_DATABASES = { postgres: 'postgres', mariadb: 'mysql' } as const;

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
  private readonly dialect: Dialect;

  private constructor(database: DemoDatabase) {
    this.dialect = database.dialect;
    this.owner = database.connect(BANK.database);
    this.watcher = database.connect(SYSTEM_DATABASES[this.dialect.engine]);
  }

  static async open(database: DemoDatabase): Promise<Bank> {
    const bank = new Bank(database);
    await bank.owner.unsafe(bank.dialect.tables).simple();
    await bank.watcher.connect();
    return bank;
  }

  /** How many connections the clients, or Berth for them, have at this moment. */
  async countConnections(): Promise<number> {
    return countRows.parse(await rows(this.watcher, this.dialect.countConnections))[0].count;
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
    return countRows.parse(await rows(this.watcher, this.dialect.countSessions))[0].count;
  }

  async audit(): Promise<Audit> {
    return auditRows.parse(await rows(this.owner, this.dialect.audit))[0];
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
