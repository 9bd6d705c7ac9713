/**
 * Clients that write without a pause, each in one of three ways, and keep books: which writes were acknowledged,
 * and what failed. For tests of what happens to the database meanwhile.
 */

import { expect } from 'bun:test';
import { type Connection, connect } from '../drill/connection.ts';
import type { ClusterEngine } from './cluster/cluster.ts';
import { EVENT_DEADLINE_MS } from './deadline.ts';
import { eventually } from './polling.ts';

/** What they write to; the user `app` must be able to. */
export const WRITES_TABLE = 'create table writes (id varchar(40) primary key)';

/** Writes the ids in one transaction. Rejects when that was not acknowledged. */
type Write = (one: string, other: string) => Promise<unknown>;

export class BusyClients {
  /** What was acknowledged. */
  readonly written: string[] = [];
  readonly errors: unknown[] = [];
  private readonly connections: readonly Connection[];
  private readonly rounds: number[];
  private readonly loops: readonly Promise<void>[];
  private isStopped = false;

  private constructor(engine: ClusterEngine, connections: readonly Connection[]) {
    this.connections = connections;
    this.rounds = connections.map(() => 0);
    this.loops = connections.map((connection, client) =>
      this.loop(writeOf(engine, connection, client), client),
    );
  }

  /** `count` of them, on the proxy's `port`. */
  static async start(engine: ClusterEngine, port: number, count: number): Promise<BusyClients> {
    const address = { host: '127.0.0.1', port };
    const options = { deadlineMs: EVENT_DEADLINE_MS };
    const opened = Array.from({ length: count }, () => connect(engine, address, options));
    return new BusyClients(engine, await Promise.all(opened));
  }

  private async loop(write: Write, client: number): Promise<void> {
    while (!this.isStopped) {
      const id = `${client}.${this.rounds[client]}`;
      try {
        await write(`${id}a`, `${id}b`);
      } catch (error) {
        this.errors.push(error);
        return;
      }
      this.written.push(`${id}a`, `${id}b`);
      this.rounds[client] = (this.rounds[client] ?? 0) + 1;
    }
  }

  /** Resolves when each has done so many rounds more, or one of them has failed. */
  async untilEachHasDone(more: number): Promise<void> {
    const goals = this.rounds.map((round) => round + more);
    const isDone = () => this.rounds.every((round, client) => round >= (goals[client] ?? 0));
    await eventually(
      () => this.errors.length > 0 || isDone() || undefined,
      `${more} rounds of each client`,
    );
  }

  /** Lets what is under way end. Nothing has failed, and these ids are what was acknowledged. */
  async stop(ids: () => Promise<readonly unknown[]>): Promise<void> {
    this.isStopped = true;
    await Promise.all(this.loops);
    expect(this.errors).toEqual([]);
    expect((await ids()).toSorted()).toEqual(this.written.toSorted());
  }

  [Symbol.dispose](): void {
    this.isStopped = true;
    for (const connection of this.connections) connection.destroy();
  }
}

function writeOf(engine: ClusterEngine, connection: Connection, client: number): Write {
  const [first, second] = engine === 'postgres' ? ['$1', '$2'] : ['?', '?'];
  switch (client % 3) {
    case 0:
      return (one, other) => connection.query(`insert into writes values ('${one}'), ('${other}')`);
    case 1:
      return (one, other) =>
        connection.execute(`insert into writes values (${first}), (${second})`, [one, other]);
    default:
      return async (one, other) => {
        await connection.query('begin');
        for (const id of [one, other]) {
          await connection.execute(`insert into writes values (${first})`, [id]);
        }
        await connection.query('commit');
      };
  }
}
