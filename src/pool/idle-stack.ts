/**
 * The idle connections of one pool: the most recently used is lent first, which keeps the hot ones
 * hot and lets the others age. They are pushed as they come back, so from bottom to top they are
 * in the order of `placedAt`. Counts itself in the budget.
 */

import type { ConnectionBudget } from './budget.ts';
import type { PooledConnection } from './contract.ts';

export class IdleStack<C extends PooledConnection> {
  private readonly connections: C[] = [];
  private readonly budget: ConnectionBudget;

  constructor(budget: ConnectionBudget) {
    this.budget = budget;
  }

  get size(): number {
    return this.connections.length;
  }

  /** Wheel time at which the least recently used one came back; Infinity without one. */
  get oldestSince(): number {
    return this.connections[0]?.placedAt ?? Number.POSITIVE_INFINITY;
  }

  /** When the most recently used one came back; -Infinity without one. */
  get newestSince(): number {
    const { length } = this.connections;
    return this.connections[length - 1]?.placedAt ?? Number.NEGATIVE_INFINITY;
  }

  push(connection: C): void {
    this.connections.push(connection);
    this.budget.idle++;
  }

  /** The most recently used. */
  pop(): C | undefined {
    const connection = this.connections.pop();
    if (connection !== undefined) this.budget.idle--;
    return connection;
  }

  /** The least recently used. */
  shift(): C | undefined {
    const connection = this.connections.shift();
    if (connection !== undefined) this.budget.idle--;
    return connection;
  }

  remove(connection: C): void {
    const index = this.connections.indexOf(connection);
    if (index < 0) throw new Error('idle stack: the connection is not in it');
    this.connections.splice(index, 1);
    this.budget.idle--;
  }

  /** How many were last used at `since` or before. */
  countSince(since: number): number {
    const younger = this.connections.findIndex((connection) => connection.placedAt > since);
    return younger < 0 ? this.connections.length : younger;
  }

  /** Takes out those last used at `since` or before. */
  takeSince(since: number): C[] {
    const taken = this.connections.splice(0, this.countSince(since));
    this.budget.idle -= taken.length;
    return taken;
  }

  /** Takes out those that must not be lent after `now`. */
  takeExpired(now: number): C[] {
    const expired = this.connections.filter((connection) => connection.expiresAt <= now);
    for (const connection of expired) this.remove(connection);
    return expired;
  }

  [Symbol.iterator](): IterableIterator<C> {
    return this.connections.values();
  }
}
