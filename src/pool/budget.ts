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

/** A permit outside the pools that was claimed. */
export interface PermitClaim {
  release(): void;
}

interface Claim {
  isGranted: boolean;
  readonly granted: () => void;
}

export class ConnectionBudget {
  limits: ConnectionLimits;
  /** Permits that the pools hold. The three below say what for; all four are written by pools only. */
  pooled = 0;
  connecting = 0;
  idle = 0;
  closing = 0;
  /** Permits that are lent to others, such as the target's monitor, or claimed by them. */
  lent = 0;
  private readonly claims: Claim[] = [];
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

  /** Somebody outside the pools waits for a permit. */
  get isClaimed(): boolean {
    return this.claims.length > 0;
  }

  configure(limits: ConnectionLimits): void {
    this.limits = limits;
    this.changed();
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
    this.changed();
  }

  /**
   * Like `tryAcquire`, but when all permits are in use the pools make room: they close what is idle,
   * and what is borrowed as it returns. `granted` is called once, maybe before this returns. Give the
   * permit back with `release`, whether it was granted yet or not.
   */
  claim(granted: () => void): PermitClaim {
    this.lent++;
    const claim = { isGranted: false, granted };
    this.claims.push(claim);
    this.onChange();
    this.grant();
    return {
      release: () => {
        if (!claim.isGranted) this.claims.splice(this.claims.indexOf(claim), 1);
        this.release();
      },
    };
  }

  /** Tells who has claimed a permit that is there now, the first of them first. */
  private grant(): void {
    while (this.claims.length > 0) {
      const granted = this.lent - this.claims.length;
      if (this.pooled + granted >= this.limits.maxConnections) return;
      const claim = this.claims.shift();
      if (claim === undefined) return;
      claim.isGranted = true;
      claim.granted();
    }
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
    this.changed();
  }

  private changed(): void {
    this.grant();
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
