/**
 * One client: comes, connects, works, leaves. It is an ordinary client (Bun's own driver)
 * and does not know whether a database or Berth is at the other end.
 */

import { SQL } from 'bun';
import { DIALECTS, type Dialect, type Role } from './dialect.ts';
import type { Assignment } from './messages.ts';
import { BANK } from './plan.ts';
import type { Random } from './random.ts';
import type { Tally } from './tally.ts';

const CONNECT_TIMEOUT_S = 30;
/** What a client does between transactions, as long as it is not at the database. */
const PAUSE_MIN_MS = 120;
const PAUSE_MAX_MS = 360;
const READ_SHARE = 0.25;
const AMOUNT_MAX = 20;

export interface Visit {
  readonly assignment: Assignment;
  readonly role: Role;
  readonly stayMs: number;
  readonly random: Random;
  readonly tally: Tally;
}

/** Resolves when the client has left, whatever became of it. */
export async function visit(options: Visit): Promise<void> {
  const { tally } = options;
  tally.arrived++;
  const sql = connector(options.assignment);
  try {
    if (!(await connect(sql, options))) return;
    tally.entered();
    try {
      await new Client(sql, options).work();
      tally.served++;
    } catch (error) {
      tally.wentWrong(messageOf(error));
    } finally {
      tally.connected--;
    }
  } finally {
    await sql.close().catch(() => undefined);
  }
}

function connector({ engine, port, user, password, database }: Assignment): SQL {
  return new SQL({
    adapter: DIALECTS[engine].adapter,
    hostname: '127.0.0.1',
    port,
    username: user,
    password,
    database,
    tls: false,
    max: 1,
    idleTimeout: 0,
    connectionTimeout: CONNECT_TIMEOUT_S,
  });
}

async function connect(sql: SQL, { assignment, tally }: Visit): Promise<boolean> {
  const startedAt = performance.now();
  try {
    await sql.connect();
    tally.connectMs.push(performance.now() - startedAt);
    return true;
  } catch (error) {
    if (DIALECTS[assignment.engine].isRefusal(error)) tally.refused(messageOf(error));
    else tally.wentWrong(messageOf(error));
    return false;
  }
}

class Client {
  private readonly sql: SQL;
  private readonly visit: Visit;
  private readonly dialect: Dialect;

  constructor(sql: SQL, visit: Visit) {
    this.sql = sql;
    this.visit = visit;
    this.dialect = DIALECTS[visit.assignment.engine];
  }

  async work(): Promise<void> {
    switch (this.visit.role) {
      case 'customer':
        return this.bank();
      case 'temporary table':
        return this.collect();
      case 'lock':
        return this.lock();
      case 'listen':
        return this.listen();
    }
  }

  /** Transfers and reads, until it is time to go. */
  private async bank(): Promise<void> {
    const { random, stayMs } = this.visit;
    const leavesAt = performance.now() + stayMs;
    while (performance.now() < leavesAt) {
      if (random.chance(READ_SHARE)) await this.read();
      else await this.transfer();
      await Bun.sleep(random.between(PAUSE_MIN_MS, PAUSE_MAX_MS));
    }
  }

  private async transfer(): Promise<void> {
    const { random, tally } = this.visit;
    const from = random.below(BANK.accounts) + 1;
    const to = (from % BANK.accounts) + 1;
    const amount = random.below(AMOUNT_MAX) + 1;
    // Always in the order of the accounts, so that no two transfers wait for each other.
    const changes = [
      { account: from, by: -amount },
      { account: to, by: amount },
    ].sort((a, b) => a.account - b.account);
    const startedAt = performance.now();
    await this.run('BEGIN');
    tally.beginMs.push(performance.now() - startedAt);
    for (const { account, by } of changes) {
      await this.run(`UPDATE accounts SET balance = balance + ${by} WHERE id = ${account}`);
    }
    await this.run(`SELECT balance FROM accounts WHERE id = ${from}`);
    await this.run(
      `INSERT INTO transfers (sender, receiver, amount) VALUES (${from}, ${to}, ${amount})`,
    );
    await this.run('COMMIT');
    tally.transferMs.push(performance.now() - startedAt);
    tally.transfers++;
  }

  private async read(): Promise<void> {
    const { random, tally } = this.visit;
    const startedAt = performance.now();
    await this.other(`SELECT balance FROM accounts WHERE id = ${random.below(BANK.accounts) + 1}`);
    tally.readMs.push(performance.now() - startedAt);
  }

  private async collect(): Promise<void> {
    for (const statement of this.dialect.collect) await this.other(statement);
  }

  private async lock(): Promise<void> {
    const key = this.visit.random.below(1_000_000);
    await this.other(this.dialect.lock(key));
    await this.transfer();
    await this.other(this.dialect.unlock(key));
  }

  private async listen(): Promise<void> {
    await this.other('LISTEN transfers');
    await this.transfer();
  }

  /** A transaction of one statement. */
  private async other(statement: string): Promise<void> {
    await this.run(statement);
    this.visit.tally.otherTransactions++;
  }

  private async run(statement: string): Promise<void> {
    await this.sql.unsafe(statement).simple();
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
