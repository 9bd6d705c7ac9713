/**
 * How applications survive a failover without a proxy: a pool whose connections go to the first host of a list
 * that takes writes, as libpq does with several hosts and `target_session_attrs=read-write`. A connection that
 * fails is thrown away; the next one begins at the top of the list.
 */

import type { ClusterEngine } from '../harness/cluster/cluster.ts';
import { type Address, type Connection, connect, StatementFailure } from './connection.ts';
import { sqlOf } from './tables.ts';

/** What a careful application says; a driver's own default is mostly to wait for ever. */
export const CONNECT_TIMEOUT_MS = 2_000;
export const STATEMENT_TIMEOUT_MS = 5_000;

export class DirectPool {
  readonly #engine: ClusterEngine;
  readonly #hosts: readonly Address[];
  readonly #idle: Connection[] = [];
  readonly #all = new Set<Connection>();

  constructor(engine: ClusterEngine, hosts: readonly Address[]) {
    this.#engine = engine;
    this.#hosts = hosts;
  }

  /** Lends a connection for as long as the work takes. A failure of the work costs the connection. */
  async with<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = this.#takeIdle() ?? (await this.#connect());
    try {
      const result = await withTimeout(work(connection), STATEMENT_TIMEOUT_MS);
      this.#idle.push(connection);
      return result;
    } catch (error) {
      this.#all.delete(connection);
      connection.destroy();
      throw error;
    }
  }

  close(): void {
    for (const connection of this.#all) connection.destroy();
    this.#all.clear();
    this.#idle.length = 0;
  }

  #takeIdle(): Connection | undefined {
    for (;;) {
      const connection = this.#idle.pop();
      if (connection === undefined || !connection.isLost) return connection;
      this.#all.delete(connection);
    }
  }

  async #connect(): Promise<Connection> {
    let reason: unknown;
    for (const host of this.#hosts) {
      try {
        return await this.#connectTo(host);
      } catch (error) {
        reason = error;
      }
    }
    throw new StatementFailure('no writer', `no host takes writes: ${reason}`, { isLost: true });
  }

  async #connectTo(host: Address): Promise<Connection> {
    const connection = await withTimeout(
      connect(this.#engine, host, { deadlineMs: CONNECT_TIMEOUT_MS }),
      CONNECT_TIMEOUT_MS,
      (late) => late.destroy(),
    );
    this.#all.add(connection);
    try {
      const question = connection.query(sqlOf(this.#engine).showReadOnly);
      const [row] = await withTimeout(question, CONNECT_TIMEOUT_MS);
      if (row?.[0] === '0') return connection;
      throw new StatementFailure('read only', `${host.port} takes no writes`, { isLost: true });
    } catch (error) {
      this.#all.delete(connection);
      connection.destroy();
      throw error;
    }
  }
}

/** Rejects at the deadline; what comes later is handed to `drop`. */
async function withTimeout<T>(
  promise: Promise<T>,
  deadlineMs: number,
  drop: (late: T) => void = () => undefined,
): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    reject(new StatementFailure('timeout', `nothing in ${deadlineMs} ms`, { isLost: true }));
  }, deadlineMs);
  promise.then(
    (result) => {
      if (isLate) drop(result);
    },
    () => undefined,
  );
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
