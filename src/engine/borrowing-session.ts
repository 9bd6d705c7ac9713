/**
 * A client after its login, whatever the engine: borrows a database connection with the first message that
 * needs one, keeps what the client sends meanwhile, and gives the connection back when the engine says that
 * nothing ties the session to it. Here is when bytes wait and who waits for whom, cancels, clocks, and the
 * end; what the bytes mean is the engine's.
 */

import { BerthError } from '../base/errors.ts';
import type { ClientConnectionId, DatabaseConnectionId } from '../base/ids.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import {
  HOLD_LEDGER_FULL,
  HOLD_OWN_CONGESTED,
  HOLD_PEER_CONGESTED,
  HOLD_QUEUED,
  IGNORE,
  type Stream,
  type StreamHandler,
} from '../net/stream.ts';
import type { EndpointCounters, TargetCounters } from '../observe/counters.ts';
import type { SessionDescription, SessionState } from '../observe/descriptions.ts';
import type { Observer } from '../observe/events.ts';
import type { ClientCloseReason, DatabaseCloseReason, Interruption } from '../observe/reasons.ts';
import type { Borrower, PooledConnection, Waiter } from '../pool/contract.ts';
import type { Pool } from '../pool/pool.ts';
import type { EngineSettings } from './contract.ts';
import { Pins } from './pins.ts';
import { SessionClock } from './session-clock.ts';

/** Replies owed to one client; beyond this its pipeline stays in its socket until some have come. */
export const PIPELINE_MAX = 32 * 1024;
/** What a client may send while it waits for a connection; more stays in its socket. */
const HELD_WHILE_QUEUED_MAX = 64 * 1024;
const HELD_PIECES_MAX = 64;
/** A request is given up when this many connections in a row were lost before anything of it was sent. */
export const CONNECTIONS_LOST_MAX = 3;
/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;

/** A database connection, as far as its session is the same for all engines. */
export interface SessionConnection<C extends PooledConnection> extends PooledConnection {
  readonly id: DatabaseConnectionId;
  readonly stream: Stream;
  readonly pool: Pool<C>;
  readonly target: {
    readonly counters: TargetCounters;
    readonly canceller: { cancel(connection: C, done: () => void): void };
  };
  readonly ledger: {
    readonly isEmpty: boolean;
    readonly isQuiet: boolean;
    readonly depth: number;
    /** What runs is a statement of the proxy's own. */
    readonly isOwnFirst: boolean;
  };
  /** Nothing is owed, nothing half done, no transaction is open. */
  readonly isSettled: boolean;
  isDirty: boolean;
  readonly cancelsInFlight: number;
  unfitBy: DatabaseCloseReason | undefined;
  takenBack(): void;
}

/** The endpoint that a client came in through, and what the engine needs of it. */
export interface SessionEndpoint {
  readonly proxy: string;
  readonly name: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  /** The settings in force; replaced as a whole when the configuration changes. */
  readonly limits: EngineSettings;
}

/** From the client to the database. */
interface SessionRelay<C> {
  readonly connection: C | undefined;
  /** A request of which a part has been sent is still to be finished by the client. */
  readonly isMidRequest: boolean;
  take(bytes: Buffer): void;
  detach(): void;
  /** The session has ended; nothing more of it goes anywhere. */
  end(): void;
}

/** What debug logging tells of a session on a connection. */
type SessionDetail =
  | { readonly event: 'connection.borrowed'; readonly waitedMs: number }
  | { readonly event: 'connection.returned'; readonly verdict: 'clean' | 'cleanable' | 'destroy' }
  | { readonly event: 'statement.sent'; readonly digest: string }
  | { readonly event: 'request.answered'; readonly durationMs: number };

export interface BorrowingSessionOptions<E> {
  readonly id: ClientConnectionId;
  readonly endpoint: E;
  readonly stream: Stream;
  readonly priority: number;
}

export abstract class BorrowingSession<C extends SessionConnection<C>, E extends SessionEndpoint>
  implements StreamHandler, Borrower<C>
{
  readonly id: ClientConnectionId;
  protected abstract readonly relay: SessionRelay<C>;
  /** The pool that it borrows from. */
  abstract readonly userPool: { readonly pool: Pool<C> };
  protected readonly endpoint: E;
  protected readonly stream: Stream;
  protected priority: number;
  protected readonly pins: Pins<C>;
  readonly clock: SessionClock;
  protected waiter: Waiter | undefined = undefined;
  /** What was received while waiting for a connection, or for an answer. */
  protected held: Buffer[] | undefined = undefined;
  private heldBytes = 0;
  /** What is held cannot go on before the database has answered more. */
  protected isWaitingForAnswer = false;
  private cancelAfterOwn: (() => void) | undefined = undefined;
  /** When the request that is under way began, in milliseconds of `performance.now()`; 0 for none. */
  protected requestedAt = 0;
  protected isDraining = false;
  protected isClosed = false;
  /** Tells of each statement. A field of its own, as every message asks for it. */
  isDebugLogged: boolean;

  constructor({ id, endpoint, stream, priority }: BorrowingSessionOptions<E>) {
    this.id = id;
    this.endpoint = endpoint;
    this.stream = stream;
    this.priority = priority;
    this.pins = new Pins(endpoint, id);
    this.clock = new SessionClock(this, endpoint);
    this.clock.lookAgain(stream.isCongested);
    this.isDebugLogged = endpoint.limits.isDebugLogging;
  }

  // --- What the engine says

  /** The connection is the session's: it is made to be what the session wants it to be. */
  protected abstract attach(connection: C): void;
  /** Gives the connection back, if nothing is owed, nothing half done, and nothing ties the session to it. */
  protected abstract giveBackIfSettled(): void;
  /** The session ends: what it has left there that is not to be lent to others. */
  protected abstract leaveBehind(connection: C): void;
  /** Answers the request that waits with `error`; what comes after it goes on as on any server. */
  protected abstract refuseHeld(error: BerthError): void;
  /** The session is over, and gives its connection back next. */
  protected abstract ending(): void;
  protected abstract tellClosed(reason: ClientCloseReason): void;
  /** What the client is told before the end; `undefined` when nothing can be said to it now. */
  protected abstract lastWord(error: BerthError): Uint8Array | undefined;
  /** What runs there goes on only when the client sends something. */
  protected abstract isUpToClient(connection: C): boolean;
  protected abstract get applicationName(): string;
  protected abstract get database(): string;
  /** What the database calls the connection. */
  protected abstract processIdOf(connection: C): number | undefined;

  // --- What people ask

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  get isPinned(): boolean {
    return this.pins.isPinned;
  }

  get isHolding(): boolean {
    return this.connection !== undefined;
  }

  /** Reads what is there when somebody asks; nothing is kept for it. */
  describe(): SessionDescription {
    const { connection, endpoint, state, stream } = this;
    const isRequestTimed = this.requestedAt > 0 && (state === 'queued' || state === 'active');
    const stateMs = isRequestTimed ? performance.now() - this.requestedAt : this.clock.silentMs;
    const now = Date.now();
    return {
      clientConnection: this.id,
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      user: this.userPool.pool.key.user,
      database: this.database,
      clientAddress: stream.remoteAddress,
      applicationName: this.applicationName,
      isEncrypted: stream.isEncrypted,
      loggedInAt: now - this.clock.ageMs,
      state,
      stateSince: now - stateMs,
      databaseConnection: connection && {
        id: connection.id,
        processId: this.processIdOf(connection),
      },
      pin: this.pins.pin,
    };
  }

  private get state(): SessionState {
    const { connection } = this;
    if (this.waiter !== undefined) return 'queued';
    if (connection === undefined) return 'idle';
    if (!connection.ledger.isQuiet || this.relay.isMidRequest) return 'active';
    if (connection.isInTransaction) return 'in_transaction';
    return this.isPinned ? 'pinned' : 'active';
  }

  protected get connection(): C | undefined {
    return this.relay.connection;
  }

  // --- What the client sends

  received(bytes: Buffer): void {
    this.clock.active();
    if (this.held !== undefined) this.keepWhileQueued(bytes);
    else this.guarded(bytes);
  }

  private guarded(bytes: Buffer): void {
    try {
      this.relay.take(bytes);
    } catch (error) {
      this.endpoint.observer.emit({ event: 'internal.failed', doing: 'read a request', error });
      const detail = `Session ${this.id}.`;
      this.close('internal_error', new BerthError('internal', { detail, cause: error }));
      return;
    }
    this.relayed();
  }

  /** All that could go on of what has been received has gone on. */
  protected relayed(): void {
    this.giveBackIfSettled();
  }

  private keepWhileQueued(bytes: Buffer): void {
    const held = this.held ?? [];
    held.push(bytes);
    this.heldBytes += bytes.length;
    // What trickles in must not cost an object for each byte.
    if (held.length >= HELD_PIECES_MAX) this.held = [Buffer.concat(held)];
    if (this.heldBytes > HELD_WHILE_QUEUED_MAX) this.stream.hold(HOLD_QUEUED);
  }

  /** What comes from here on waits behind `rest`. */
  protected keep(rest: Buffer): void {
    this.held = [rest];
    this.heldBytes = rest.length;
  }

  protected processHeld(): void {
    const held = this.held ?? [];
    this.held = undefined;
    this.heldBytes = 0;
    this.stream.letGo(HOLD_QUEUED);
    for (const bytes of held) {
      if (this.isClosed) return;
      this.received(bytes);
    }
  }

  /** A request of the client's goes out. */
  requested(): void {
    const { counters } = this.endpoint;
    // A pinned session borrows nothing.
    if (this.requestedAt === 0) this.requestedAt = performance.now();
    counters.queryRequests++;
    if (this.stream.isEncrypted) counters.queryRequestsTls++;
  }

  terminated(): void {
    this.close('client_request');
  }

  // --- Borrowing

  /** Returns whether there is a connection now, `former` if that is given; otherwise `rest` waits. */
  protected borrow(rest: Buffer, former?: C): boolean {
    this.requestedAt = performance.now();
    const { pool } = this.userPool;
    const connection = former ?? pool.borrow();
    if (connection !== undefined) {
      this.lend(connection);
      if (!this.isWaitingForAnswer) return true;
      this.keep(rest);
      return false;
    }
    this.keep(rest);
    this.waiter = pool.wait(this, this.priority);
    return false;
  }

  /** Keeps `rest` until the database has answered more. */
  wait(rest: Buffer): void {
    this.keep(rest);
    this.isWaitingForAnswer = true;
  }

  granted(connection: C): void {
    this.waiter = undefined;
    const { counters } = this.endpoint;
    counters.borrowLatencyMicros += (performance.now() - this.requestedAt) * 1000;
    this.lend(connection);
    if (!this.isWaitingForAnswer) this.processHeld();
  }

  private lend(connection: C): void {
    if (this.isDebugLogged) {
      const waitedMs = roundedMs(performance.now() - this.requestedAt);
      this.tell(connection, { event: 'connection.borrowed', waitedMs });
    }
    this.attach(connection);
  }

  /** Only while debug logging is on. */
  private tell({ id: databaseConnection }: C, detail: SessionDetail): void {
    const { proxy, name: endpoint, observer } = this.endpoint;
    const clientConnection = this.id;
    observer.emit({ proxy, endpoint, clientConnection, databaseConnection, ...detail });
  }

  /** The same; of a statement that is about to be sent. */
  protected tellStatement(digest: string): void {
    const { connection } = this;
    if (connection !== undefined) this.tell(connection, { event: 'statement.sent', digest });
  }

  refused(error: BerthError): void {
    this.waiter = undefined;
    if (error.code === 'shutting_down') {
      this.close('shutdown', error);
      return;
    }
    const { endpoint } = this;
    endpoint.observer.emit({
      event: 'borrow.failed',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      why: error.code === 'borrow_timeout' ? 'timeout' : 'refused',
      waitedMs: Math.round(performance.now() - this.requestedAt),
      detail: error.detail ?? error.message,
    });
    if (error.code === 'borrow_timeout') this.refuseHeld(error);
    else this.close('borrow_failed', error);
  }

  abstract stillWaiting(waitedMs: number, position: number): void;

  protected giveBack(connection: C): void {
    this.detach(connection);
    this.release(connection);
  }

  private release(connection: C): void {
    // Not the pool that the session borrows from next: that may be at another DB instance by now.
    const { cancelsInFlight, isDirty, pool, unfitBy } = connection;
    const isClean = cancelsInFlight === 0 && !isDirty && connection.isSettled;
    const verdict = unfitBy === undefined ? (isClean ? 'clean' : 'cleanable') : 'destroy';
    if (this.isDebugLogged) this.tell(connection, { event: 'connection.returned', verdict });
    pool.release(connection, verdict, unfitBy);
  }

  protected detach(connection: C): void {
    this.relay.detach();
    connection.takenBack();
    this.stream.letGo(HOLD_PEER_CONGESTED);
    this.endCancels();
  }

  // --- What the database connection says

  /** The connection was lost, and the session goes on without it. */
  protected interrupted(connection: C, reason: Interruption): void {
    const { endpoint } = this;
    endpoint.counters.interruptions[reason]++;
    endpoint.observer.emit({
      event: 'session.interrupted',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      databaseConnection: connection.id,
      reason,
    });
    this.requestedAt = 0;
    this.isWaitingForAnswer = false;
    this.pins.forget();
    this.detach(connection);
  }

  /** Bytes for the client, valid for as long as they are needed. */
  deliver(bytes: Uint8Array): void {
    this.stream.write(bytes);
  }

  /** The same, and the buffer that they are in is the session's alone. */
  deliverChunk(bytes: Buffer): void {
    this.stream.give(bytes);
  }

  congested(): void {
    this.clock.active();
    this.clock.lookAgain(true);
    this.stream.hold(HOLD_OWN_CONGESTED);
    this.connection?.stream.hold(HOLD_PEER_CONGESTED);
  }

  /** The pipeline may go on, also in the middle of a batch: the rest of it may still be in the socket. */
  replied(): void {
    const { connection } = this;
    if (connection === undefined || connection.ledger.depth >= PIPELINE_MAX) return;
    this.stream.letGo(HOLD_LEDGER_FULL);
  }

  /** The request that is under way has been answered. */
  protected measure(connection: C): void {
    if (this.requestedAt === 0) return;
    const micros = (performance.now() - this.requestedAt) * 1000;
    this.requestedAt = 0;
    if (this.isDebugLogged) {
      this.tell(connection, { event: 'request.answered', durationMs: roundedMs(micros / 1000) });
    }
    const { counters } = this.endpoint;
    counters.queryResponses++;
    counters.queryResponseLatencyMicros += micros;
    connection.target.counters.queryDatabaseResponses++;
    connection.target.counters.queryDatabaseResponseLatencyMicros += micros;
  }

  connectionCongested(): void {
    this.stream.hold(HOLD_PEER_CONGESTED);
  }

  connectionDrained(): void {
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  // --- Cancels

  /**
   * Somebody cancels what the session runs. `done` when everything that follows from it is over. Of what the
   * proxy runs for itself the client knows nothing: then it is meant for the client's statement behind that.
   */
  cancel(done: () => void): void {
    const { connection } = this;
    if (this.waiter !== undefined) {
      this.waiter.abandon();
      this.waiter = undefined;
      this.refuseHeld(new BerthError('query_canceled'));
      done();
    } else if (connection === undefined || connection.ledger.isEmpty) {
      done();
    } else if (connection.ledger.isOwnFirst) {
      this.cancelAfterOwn?.();
      this.cancelAfterOwn = done;
    } else {
      this.forwardCancel(connection, done);
    }
  }

  private forwardCancel(connection: C, done: () => void): void {
    const { endpoint } = this;
    endpoint.observer.emit({
      event: 'cancel.forwarded',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      databaseConnection: connection.id,
    });
    connection.target.canceller.cancel(connection, done);
  }

  /** A statement of ours has ended: a cancel that came meanwhile is for the client's behind it. */
  cancelBehind(connection: C): void {
    const cancel = this.cancelAfterOwn;
    this.cancelAfterOwn = undefined;
    if (cancel === undefined) return;
    if (connection.ledger.isEmpty) cancel();
    else this.forwardCancel(connection, cancel);
  }

  /** There is nothing left that a cancel could be meant for. */
  protected endCancels(): void {
    this.cancelAfterOwn?.();
    this.cancelAfterOwn = undefined;
  }

  // --- Clocks, end

  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void {
    this.isDraining = true;
    const isBusy = this.isWaiting || (this.connection !== undefined && !this.isIdlePinned);
    if (!isBusy) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** Something is under way that is not the connection's. */
  protected get isWaiting(): boolean {
    return this.waiter !== undefined;
  }

  /** Holds a connection only because it is pinned. */
  protected get isIdlePinned(): boolean {
    return this.isPinned && (this.connection?.isSettled ?? false);
  }

  drained(): void {
    this.clock.active();
    this.stream.letGo(HOLD_OWN_CONGESTED);
    this.connection?.stream.letGo(HOLD_PEER_CONGESTED);
  }

  /** The one timer of a session: looks at what is overdue, and arms itself for what is due next. */
  lookAtClock(): void {
    // A socket that is full and held may not be told that its other side has gone.
    this.stream.retry();
    this.connection?.stream.retry();
    if (this.isClosed) return;
    const overdue = this.clock.overdue(this.isStuck, this.isIdle);
    if (overdue !== undefined) {
      this.close(overdue.reason, overdue.error);
      return;
    }
    this.clock.lookAgain(this.stream.isCongested);
  }

  /** Nothing in flight: no connection held, or held only because it is pinned. */
  private get isIdle(): boolean {
    return this.waiter === undefined && (this.connection === undefined || this.isIdlePinned);
  }

  /** Holds a connection that can only go on when the client sends, or takes, something. */
  private get isStuck(): boolean {
    const { connection } = this;
    if (this.stream.isCongested) return true;
    if (connection === undefined || this.isIdlePinned) return false;
    return connection.ledger.isEmpty || this.relay.isMidRequest || this.isUpToClient(connection);
  }

  /** The client is gone. */
  closed(): void {
    this.leave('client_gone');
  }

  /** Ends the session from this side, after telling the client why. */
  close(reason: ClientCloseReason, error?: BerthError): void {
    if (this.isClosed) return;
    const message = error && this.lastWord(error);
    if (message !== undefined) this.stream.write(message);
    this.stream.handler = IGNORE;
    this.stream.end(this.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  private leave(reason: ClientCloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.clock.stop();
    this.waiter?.abandon();
    this.waiter = undefined;
    this.held = undefined;
    this.isWaitingForAnswer = false;
    this.relay.end();
    this.ending();
    const { connection } = this;
    if (connection !== undefined) this.leaveConnection(connection);
    this.tellClosed(reason);
  }

  protected leaveConnection(connection: C): void {
    this.leaveBehind(connection);
    // A request of which the database saw only a part cannot be finished or taken back.
    if (this.relay.isMidRequest) connection.unfitBy ??= 'client_gone_in_request';
    this.giveBack(connection);
  }
}

/** To the microsecond. */
function roundedMs(duration: number): number {
  return Math.round(duration * 1000) / 1000;
}
