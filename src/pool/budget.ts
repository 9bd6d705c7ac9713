/**
 * Permits for the database connections of one proxy on one target, over all its pools. Whoever
 * holds a permit may have a socket to the database, from the first connect until the socket is
 * gone, so the database never sees more than `limit` of them.
 *
 * The limit may change at any time. Lowered below what is in use, nobody loses a loan: the pools
 * close idle connections at once and borrowed ones as they return.
 */

export interface ConnectionLimits {
  readonly maxConnections: number;
  /** The setting that the number comes from; a client that was refused reads it. */
  readonly limitedBy: 'MaxConnections' | 'MaxConnectionsPercent';
  /** Of the connections that were not used for `idleAgeMs`, this many are kept. */
  readonly maxIdleConnections: number;
}

/** What a walk over all pools counted. */
export interface Census {
  readonly live: number;
  readonly connecting: number;
  readonly idle: number;
  readonly closing: number;
}

export class ConnectionBudget {
  limits: ConnectionLimits;
  /** Permits that the pools hold. The three below say what for; all four are written by pools only. */
  pooled = 0;
  connecting = 0;
  idle = 0;
  closing = 0;
  /** Permits that are lent to others, such as the target's monitor. */
  lent = 0;
  /** Called after a permit came back or the limits changed. Set by the pool group. */
  onChange: () => void = () => {};

  constructor(limits: ConnectionLimits) {
    this.limits = limits;
  }

  get limit(): number {
    return this.limits.maxConnections;
  }

  get inUse(): number {
    return this.pooled + this.lent;
  }

  /** Permits that can be had now. */
  get available(): number {
    return Math.max(0, this.limits.maxConnections - this.pooled - this.lent);
  }

  /** Permits that can be had once everything that is closing has closed. */
  get coming(): number {
    return Math.max(0, this.limits.maxConnections - this.pooled - this.lent + this.closing);
  }

  /** More is in use than permitted, even after everything that is closing has closed. */
  get isOver(): boolean {
    return this.pooled + this.lent - this.closing > this.limits.maxConnections;
  }

  configure(limits: ConnectionLimits): void {
    this.limits = limits;
    this.onChange();
  }

  /** A permit for a connection outside the pools; give it back with `release` once its socket is gone. */
  tryAcquire(): boolean {
    if (this.available === 0) return false;
    this.lent++;
    return true;
  }

  release(): void {
    if (this.lent === 0) throw new Error('budget: a permit came back that was not lent');
    this.lent--;
    this.onChange();
  }

  /** A permit for a pool, to open a connection with. */
  takeForPool(): boolean {
    if (this.available === 0) return false;
    this.pooled++;
    return true;
  }

  returnFromPool(): void {
    if (this.pooled === 0) throw new Error('budget: a pool returned a permit that it did not have');
    this.pooled--;
    this.onChange();
  }

  /** Throws when permits and live connections disagree. */
  audit(found: Census): void {
    compare('permits of pools', this.pooled, found.live);
    compare('connecting', this.connecting, found.connecting);
    compare('idle', this.idle, found.idle);
    compare('closing', this.closing, found.closing);
  }
}

function compare(what: string, counted: number, found: number): void {
  if (counted !== found) throw new Error(`budget: ${what}: ${counted} counted, ${found} found`);
}
