/**
 * A connection to a database after its login, whatever the engine: what the pool asks of it, how it is made
 * clean, and how it ends. What the database's bytes mean is the engine's.
 */

import { type DatabaseConnectionId, nextDatabaseConnectionId } from '../base/ids.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import { IGNORE, type Stream, type StreamHandler } from '../net/stream.ts';
import type { Observer } from '../observe/events.ts';
import type { DatabaseCloseReason } from '../observe/reasons.ts';
import type { Placement, PooledConnection } from '../pool/contract.ts';
import type { PoolKey } from '../pool/pool-host.ts';
import type { ConnectionReset, ResetOptions } from './connection-reset.ts';
import { ProtocolViolation } from './protocol-violation.ts';

/** How long the database may take to close its end. */
const CLOSE_LINGER_MS = 10_000;

/** What everything that talks to one target of one proxy shares, as far as it matters here. */
interface ConnectionTarget {
  readonly proxy: string;
  readonly target: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
}

/** The pool that a connection belongs to, as it is told what became of it. */
interface ConnectionPool<C> {
  readonly key: PoolKey;
  cleaned(connection: C): void;
  closed(connection: C): void;
  retire(connection: C, reason: DatabaseCloseReason): void;
}

/** The session that holds a connection. */
interface Holder {
  /** The database takes no more bytes for now. */
  connectionCongested(): void;
  /** It takes bytes again. */
  connectionDrained(): void;
}

export abstract class TargetConnection implements PooledConnection, StreamHandler {
  readonly id: DatabaseConnectionId = nextDatabaseConnectionId();
  readonly stream: Stream;
  abstract readonly target: ConnectionTarget;
  abstract readonly pool: ConnectionPool<this>;
  abstract readonly ledger: { readonly isQuiet: boolean };
  abstract readonly holder: Holder | undefined;
  placement: Placement = 'connecting';
  placedAt = 0;
  expiresAt = 0;
  /** Cancels for this connection that the database has not finished with. */
  cancelsInFlight = 0;
  /** Why it must not be lent again, however clean it looks. */
  unfitBy: DatabaseCloseReason | undefined = undefined;
  protected reset: ConnectionReset | undefined = undefined;
  /** The beginning of a message that is not whole yet. */
  protected partial: Buffer | undefined = undefined;
  protected closeReason: DatabaseCloseReason | undefined = undefined;

  constructor(stream: Stream) {
    this.stream = stream;
    stream.handler = this;
  }

  abstract get isInTransaction(): boolean;

  /** Reads what the database has sent; what is cut at its end it keeps in `partial`. */
  protected abstract read(bytes: Buffer): void;
  /** Makes it clean, or proves that the database still answers. */
  protected abstract newReset(options: ResetOptions): ConnectionReset;
  /** What the database is told at the end. */
  protected abstract get goodbye(): Buffer;
  /** Asks the database to end what runs there. */
  abstract cancelRunning(): void;
  abstract closed(): void;

  /** Not the database has ended it, but what it said. */
  get isFaulty(): boolean {
    return this.closeReason === 'protocol_violation' || this.closeReason === 'internal_error';
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  received(chunk: Buffer): void {
    if (this.closeReason !== undefined) return;
    try {
      this.read(this.joined(chunk));
    } catch (error) {
      const isViolation = error instanceof ProtocolViolation;
      if (!isViolation) {
        this.target.observer.emit({ event: 'internal.failed', doing: 'read a reply', error });
      }
      this.fail(isViolation ? 'protocol_violation' : 'internal_error');
    }
  }

  private joined(chunk: Buffer): Buffer {
    const { partial } = this;
    if (partial === undefined) return chunk;
    this.partial = undefined;
    return Buffer.concat([partial, chunk]);
  }

  congested(): void {
    this.holder?.connectionCongested();
  }

  drained(): void {
    this.holder?.connectionDrained();
  }

  // --- What is told of it

  /** Where it is, for events. */
  private get scope() {
    const { proxy, target } = this.target;
    return { proxy, target, databaseConnection: this.id };
  }

  tellOpened(): void {
    const { user, database } = this.pool.key;
    const { localAddress: from, remoteAddress: to } = this.stream;
    const event = 'connection.opened';
    this.target.observer.emit({ ...this.scope, event, user, database, from, to });
  }

  tellReset(): void {
    this.target.observer.emit({ ...this.scope, event: 'connection.reset' });
  }

  /** The socket is gone. Returns whether the pool knew of the connection, and has been told. */
  protected leavePool(): boolean {
    this.reset?.stop();
    // Its InitQuery was still running: the pool does not have it yet.
    if (this.placement === 'connecting') return false;
    const reason = this.closeReason ?? 'database_closed';
    this.target.observer.emit({ ...this.scope, event: 'connection.closed', reason });
    this.pool.retire(this, reason);
    this.released();
    return true;
  }

  /** The database has it no more. */
  protected released(): void {
    this.pool.closed(this);
  }

  // --- What the pool asks

  clean(deadlineMs: number): void {
    this.begin({ deadlineMs, isProbe: false });
  }

  probe(deadlineMs: number): void {
    this.begin({ deadlineMs, isProbe: true });
  }

  private begin(options: ResetOptions): void {
    this.reset = this.newReset(options);
    this.reset.begin();
  }

  /** The steps of `clean` or `probe` ended. */
  resetEnded(failure: DatabaseCloseReason | undefined): void {
    this.reset = undefined;
    if (failure === undefined) {
      this.pool.cleaned(this);
    } else if (failure === 'probe_failed') {
      this.fail(failure);
    } else {
      // The database may still be at work on it, and has it until it is done.
      this.pool.retire(this, failure);
      this.close(failure);
    }
  }

  close(reason: DatabaseCloseReason): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    this.reset?.stop();
    this.reset = undefined;
    // A database that works on a statement does not look at its socket.
    if (this.ledger.isQuiet) this.stream.write(this.goodbye);
    else this.cancelRunning();
    // Its permit is free when the database has closed its end, so the limit holds there too.
    this.stream.end(this.target.wheel, CLOSE_LINGER_MS);
  }

  sever(reason: DatabaseCloseReason): void {
    this.closeReason ??= reason;
    this.stream.destroy();
  }

  /** A cancel for this connection has been dealt with. */
  cancelEnded(): void {
    this.reset?.progress();
  }

  /** Ends a connection that no pool knows of yet. */
  abandon(): void {
    this.stream.handler = IGNORE;
    this.stream.destroy();
  }

  /** Ends the connection because of something on this side of it. */
  protected fail(reason: DatabaseCloseReason): void {
    if (this.closeReason !== undefined) return;
    this.closeReason = reason;
    this.stream.destroy();
  }
}
