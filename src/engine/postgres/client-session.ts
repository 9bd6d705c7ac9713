/**
 * A client after its login: borrows a database connection with the first message that needs one, and
 * gives it back when the ledger says that nothing is owed, the transaction is over and nothing pins.
 * What the client sends goes through its relay; here is when it may, for how long, and how it ends.
 */

import { BerthError } from '../../base/errors.ts';
import type { ClientConnectionId } from '../../base/ids.ts';
import { WheelTimer } from '../../base/timer-wheel.ts';
import {
  HOLD_LEDGER_FULL,
  HOLD_OWN_CONGESTED,
  HOLD_PEER_CONGESTED,
  HOLD_QUEUED,
  IGNORE,
  type Stream,
  type StreamHandler,
} from '../../net/stream.ts';
import type { Pin, SessionDescription, SessionState } from '../../observe/descriptions.ts';
import type { ClientCloseReason, PinReason } from '../../observe/reasons.ts';
import type { Borrower, Waiter } from '../../pool/contract.ts';
import { digest } from '../../sql/postgres/digest.ts';
import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { KIND, OURS, OWES_QUERY } from './ledger.ts';
import type { ReportedParameters } from './parameters.ts';
import type { Difference, StatementRegistry } from './prepared-statements.ts';
import { PIPELINE_MAX, Relay, type RelayHost } from './relay.ts';
import type { SessionSettings } from './settings.ts';
import type { UserPool } from './user-pool.ts';
import { errorResponse, noticeResponse, READY_IDLE } from './wire/backend.ts';
import { FUNCTION_CALL, QUERY, SYNC } from './wire/messages.ts';

/** What a client may send while it waits for a connection; more stays in its socket. */
const HELD_WHILE_QUEUED_MAX = 64 * 1024;
/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;

/**
 * The process ids that clients are given begin here: above those of any system (2^22 on Linux), so
 * that `pg_terminate_backend` with one of them hits nobody.
 */
const PROCESS_ID_FIRST = 2 ** 30;

export class ClientSession
  implements StreamHandler, Borrower<DatabaseConnection>, ConnectionHolder, RelayHost
{
  readonly id: ClientConnectionId;
  readonly userPool: UserPool;
  /** The virtual cancel key: what the client was given in BackendKeyData, as latin1. */
  readonly cancelKey: string;
  /** Names the session in a CancelRequest. */
  readonly processId: number;
  private readonly endpoint: EndpointContext;
  private readonly stream: Stream;
  private readonly settings: SessionSettings;
  private readonly priority: number;
  private readonly openedAt: number;
  /** What the client has been told of the database's parameters. */
  private parameters: ReportedParameters;
  private readonly relay: Relay;
  private waiter: Waiter | undefined = undefined;
  private pinnedBy: Pin | undefined = undefined;
  /** What was received while waiting for a connection. */
  private held: Buffer[] | undefined = undefined;
  /** What is held cannot go on before the database has answered more. */
  private isWaitingForAnswer = false;
  private cancelAfterReplay: (() => void) | undefined = undefined;
  /** When the request that is under way began, in milliseconds of `performance.now()`; 0 for none. */
  private requestedAt = 0;
  /** Wheel time of the last byte from or to the client. */
  private activeAt: number;
  private readonly timer: SessionTimer;
  private isDraining = false;
  private isClosed = false;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.processId = PROCESS_ID_FIRST + (options.id % PROCESS_ID_FIRST);
    this.endpoint = options.endpoint;
    this.stream = options.stream;
    this.userPool = options.userPool;
    this.settings = options.settings;
    this.parameters = options.parameters;
    this.priority = options.priority;
    this.cancelKey = options.cancelKey;
    this.relay = new Relay(this, options.stream, options.statements, options.settings.variant);
    const { wheel } = options.endpoint;
    this.openedAt = wheel.now;
    this.activeAt = wheel.now;
    this.timer = new SessionTimer(this);
    wheel.arm(this.timer, this.nextLook());
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  /** Reads what is there when somebody asks; nothing is kept for it. */
  describe(): SessionDescription {
    const { connection, endpoint, pinnedBy, state, stream } = this;
    const { user, database } = this.userPool.pool.key;
    const { wheel } = endpoint;
    const isRequestTimed = this.requestedAt > 0 && (state === 'queued' || state === 'active');
    const stateMs = isRequestTimed
      ? performance.now() - this.requestedAt
      : wheel.now - this.activeAt;
    const now = Date.now();
    return {
      clientConnection: this.id,
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      user,
      database,
      clientAddress: stream.remoteAddress,
      applicationName: this.parameters.get('application_name') ?? '',
      isEncrypted: stream.isEncrypted,
      loggedInAt: now - (wheel.now - this.openedAt),
      state,
      stateSince: now - stateMs,
      databaseConnection: connection && {
        id: connection.id,
        processId: connection.cancelKey?.processId,
      },
      pin: pinnedBy,
    };
  }

  private get state(): SessionState {
    const { connection } = this;
    if (this.waiter !== undefined) return 'queued';
    if (connection === undefined) return 'idle';
    if (!connection.ledger.isQuiet || this.relay.bodyLeft > 0) return 'active';
    if (connection.isInTransaction) return 'in_transaction';
    return this.pinnedBy === undefined ? 'active' : 'pinned';
  }

  private get connection(): DatabaseConnection | undefined {
    return this.relay.connection;
  }

  // --- What the client sends

  received(bytes: Buffer): void {
    this.activeAt = this.endpoint.wheel.now;
    if (this.held !== undefined) this.keepWhileQueued(bytes);
    else this.guarded(bytes);
  }

  private guarded(bytes: Buffer): void {
    try {
      this.relay.take(bytes);
    } catch (error) {
      this.endpoint.observer.emit({ event: 'internal.failed', doing: 'read a request', error });
      this.close('internal_error', this.internalError(error));
      return;
    }
    this.giveBackIfSettled();
  }

  private internalError(cause: unknown): BerthError {
    return new BerthError('internal', { detail: `Session ${this.id}.`, cause });
  }

  private keepWhileQueued(bytes: Buffer): void {
    this.held?.push(bytes);
    const heldBytes = this.held?.reduce((sum, each) => sum + each.length, 0) ?? 0;
    if (heldBytes > HELD_WHILE_QUEUED_MAX) this.stream.hold(HOLD_QUEUED);
  }

  // --- What the relay says

  terminated(): void {
    this.close('client_request');
  }

  violated(what: string): void {
    this.close('protocol_violation', new BerthError('protocol_violation', { params: { what } }));
  }

  requested(): void {
    const { counters } = this.endpoint;
    // A pinned session borrows nothing.
    if (this.requestedAt === 0) this.requestedAt = performance.now();
    counters.queryRequests++;
    if (this.stream.isEncrypted) counters.queryRequestsTls++;
  }

  skipped(): void {
    this.deliver(READY_IDLE);
  }

  get stringSyntax(): StringSyntax {
    return this.parameters.stringSyntax;
  }

  /** Returns whether there is a connection now; otherwise `rest` waits. */
  acquire(rest: Buffer): boolean {
    this.requestedAt = performance.now();
    const { pool } = this.userPool;
    const connection = pool.borrow();
    if (connection !== undefined) {
      this.attach(connection);
      return true;
    }
    this.held = [rest];
    this.waiter = pool.wait(this, this.priority);
    return false;
  }

  wait(rest: Buffer): void {
    this.held = [rest];
    this.isWaitingForAnswer = true;
  }

  get isPinned(): boolean {
    return this.pinnedBy !== undefined;
  }

  pin(reason: PinReason, text: Uint8Array): void {
    const { connection, endpoint } = this;
    if (connection === undefined || this.pinnedBy !== undefined) return;
    const statement = digest(text);
    this.pinnedBy = { reason, digest: statement, since: Date.now() };
    connection.isDirty = true;
    this.userPool.pool.pin(connection);
    endpoint.counters.pins[reason]++;
    endpoint.observer.emit({
      event: 'session.pinned',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: this.id,
      databaseConnection: connection.id,
      reason,
      digest: statement,
    });
  }

  // --- Borrowing

  private attach(connection: DatabaseConnection): void {
    this.relay.connection = connection;
    connection.lentTo(this);
    this.endpoint.counters.borrows++;
    if (connection.settings !== this.settings) this.replaySettings(connection);
    else if (connection.parameters !== this.parameters) this.tellParameters(connection);
    if (this.endpoint.limits.isSessionMode) this.pin('session_mode', EMPTY);
    if (!this.parameters.isTextReadable) this.pin('unknown', EMPTY);
  }

  private replaySettings(connection: DatabaseConnection): void {
    if (!connection.settings.equals(this.settings)) {
      this.relay.prepend(this.settings.replayFrom(connection.settings, connection.base));
      connection.ledger.owe(OWES_QUERY | OURS);
      connection.unnamedStatement = 0;
    } else if (connection.parameters !== this.parameters) {
      this.tellParameters(connection);
    }
    connection.settings = this.settings;
  }

  /** The database's parameters may have changed since the client was told. */
  private tellParameters(connection: DatabaseConnection): void {
    for (const message of connection.parameters.differencesFrom(this.parameters)) {
      this.deliver(message);
    }
    this.parameters = connection.parameters;
  }

  granted(connection: DatabaseConnection): void {
    this.waiter = undefined;
    const { counters } = this.endpoint;
    counters.borrowLatencyMicros += (performance.now() - this.requestedAt) * 1000;
    this.attach(connection);
    this.processHeld();
  }

  private processHeld(): void {
    const held = this.held ?? [];
    this.held = undefined;
    this.stream.letGo(HOLD_QUEUED);
    for (const bytes of held) {
      if (this.isClosed) return;
      this.received(bytes);
    }
  }

  refused(error: BerthError): void {
    this.waiter = undefined;
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
    if (error.code === 'borrow_timeout') this.refuse(error);
    else this.close('borrow_failed', error);
  }

  stillWaiting(waitedMs: number, position: number): void {
    const seconds = Math.round(waitedMs / 1000);
    const text = `Waiting for a database connection for ${seconds} s; ${position} in the queue.`;
    this.stream.write(noticeResponse(text));
  }

  /** Answers the request that waits with `error`; what comes after it goes on as on any server. */
  private refuse(error: BerthError): void {
    this.requestedAt = 0;
    this.deliver(errorResponse('ERROR', error));
    const [first] = this.held ?? [];
    const type = first?.[0];
    if (first === undefined) return;
    if (type === QUERY || type === FUNCTION_CALL || type === SYNC) {
      const rest = this.relay.dropMessage(first);
      this.held?.splice(0, 1, ...(rest.length > 0 ? [rest] : []));
      this.deliver(READY_IDLE);
    } else {
      this.relay.skip();
    }
    this.processHeld();
  }

  // --- What the database connection says

  deliver(bytes: Uint8Array): void {
    this.stream.write(bytes);
    if (this.stream.isCongested) this.congested();
  }

  deliverChunk(bytes: Buffer): void {
    this.stream.give(bytes);
    if (this.stream.isCongested) this.congested();
  }

  private congested(): void {
    const { wheel } = this.endpoint;
    this.activeAt = wheel.now;
    wheel.arm(this.timer, LOOK_AGAIN_MS);
    this.stream.hold(HOLD_OWN_CONGESTED);
    this.connection?.stream.hold(HOLD_PEER_CONGESTED);
  }

  parametersReported(parameters: ReportedParameters): void {
    this.parameters = parameters;
  }

  answered(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.replied();
    if (connection.ledger.isEmpty) this.settled(connection);
    if (this.isWaitingForAnswer) this.goOn();
  }

  rested(): void {
    this.replied();
    if (this.isWaitingForAnswer) this.goOn();
  }

  /** The pipeline may go on, also in the middle of a batch: its Sync may still be in the socket. */
  replied(): void {
    const { connection } = this;
    if (connection === undefined || connection.ledger.depth >= PIPELINE_MAX) return;
    this.stream.letGo(HOLD_LEDGER_FULL);
  }

  private goOn(): void {
    this.isWaitingForAnswer = false;
    this.processHeld();
  }

  /** Everything has been answered. */
  private settled(connection: DatabaseConnection): void {
    this.activeAt = this.endpoint.wheel.now;
    this.measure(connection);
    // The reply to it tells what has been answered and what not.
    if (connection.ledger.isDoubtful && connection.ledger.isQuiet) connection.ask('');
    this.giveBackIfSettled();
  }

  private measure(connection: DatabaseConnection): void {
    if (this.requestedAt === 0) return;
    const micros = (performance.now() - this.requestedAt) * 1000;
    this.requestedAt = 0;
    const { counters } = this.endpoint;
    counters.queryResponses++;
    counters.queryResponseLatencyMicros += micros;
    connection.target.counters.queryDatabaseResponses++;
    connection.target.counters.queryDatabaseResponseLatencyMicros += micros;
  }

  replayed(error: ReadonlyMap<string, string> | undefined): void {
    const { connection } = this;
    if (connection === undefined) return;
    if (error !== undefined) {
      const detail = `The settings of session ${this.id} could not be set: ${error.get('C') ?? ''}.`;
      this.close('internal_error', new BerthError('internal', { detail }));
      return;
    }
    if (connection.parameters !== this.parameters) this.tellParameters(connection);
    const cancel = this.cancelAfterReplay;
    this.cancelAfterReplay = undefined;
    if (cancel !== undefined) this.forwardCancel(connection, cancel);
  }

  statementConfirmed(): void {
    this.relay.statementConfirmed();
  }

  statementsLost(count: number): void {
    this.relay.statementsLost(count);
  }

  statementChanged(difference: Difference): void {
    this.relay.statementChanged(difference);
  }

  statementsCleared(): void {
    this.relay.statementsCleared();
  }

  discarded(): void {
    const { connection } = this;
    if (connection === undefined) return;
    // The InitQuery's settings went with it, and come back with the reset.
    connection.isDirty = connection.initQuery !== undefined;
    if (this.pinnedBy === undefined || this.endpoint.limits.isSessionMode) return;
    this.pinnedBy = undefined;
    this.userPool.pool.unpin(connection);
  }

  nameOf(serverName: string): string | undefined {
    return this.relay.nameOf(serverName);
  }

  parseLost(): void {
    this.relay.unnamedLost();
  }

  connectionDrained(): void {
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  connectionLost(wasTold: boolean): void {
    this.relay.detach();
    this.close('database_lost', wasTold ? undefined : new BerthError('connection_lost'));
  }

  private giveBackIfSettled(): void {
    const { connection } = this;
    if (connection === undefined || !connection.ledger.isSettled || this.relay.bodyLeft > 0) return;
    this.requestedAt = 0;
    if (this.pinnedBy !== undefined) {
      if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
      return;
    }
    this.detach(connection);
    // Something that no text showed, such as a function, changed a setting: nobody else gets it.
    if (connection.hasStrayParameters || this.settings.isHarsh) connection.isDirty = true;
    const { cancelsInFlight, unfitBy } = connection;
    const { pool } = this.userPool;
    const isClean = cancelsInFlight === 0 && !connection.isDirty;
    if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
    else pool.release(connection, isClean ? 'clean' : 'cleanable');
    if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
  }

  private detach(connection: DatabaseConnection): void {
    this.relay.detach();
    connection.takenBack();
    this.stream.letGo(HOLD_PEER_CONGESTED);
    this.cancelAfterReplay?.();
    this.cancelAfterReplay = undefined;
  }

  // --- Cancel, clocks, end

  /** A CancelRequest with this session's key. `done` when everything that follows from it is over. */
  cancel(done: () => void): void {
    const { connection } = this;
    if (this.waiter !== undefined) {
      this.waiter.abandon();
      this.waiter = undefined;
      this.refuse(new BerthError('query_canceled'));
      done();
    } else if (connection === undefined || connection.ledger.isEmpty) {
      done();
    } else if ((connection.ledger.head & (OURS | KIND)) === (OURS | OWES_QUERY)) {
      // It is meant for the client's statement, which is right behind ours.
      this.cancelAfterReplay?.();
      this.cancelAfterReplay = done;
    } else {
      this.forwardCancel(connection, done);
    }
  }

  private forwardCancel(connection: DatabaseConnection, done: () => void): void {
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

  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void {
    this.isDraining = true;
    const { connection } = this;
    const isBusy = this.waiter !== undefined || (connection !== undefined && !this.isIdlePinned);
    if (!isBusy) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** Holds a connection only because it is pinned. */
  private get isIdlePinned(): boolean {
    return this.pinnedBy !== undefined && (this.connection?.ledger.isSettled ?? false);
  }

  drained(): void {
    this.activeAt = this.endpoint.wheel.now;
    this.stream.letGo(HOLD_OWN_CONGESTED);
    this.connection?.stream.letGo(HOLD_PEER_CONGESTED);
  }

  /** The one timer of a session: looks at what is overdue, and arms itself for what is due next. */
  lookAtClock(): void {
    const { limits, wheel } = this.endpoint;
    this.stream.retry();
    if (this.isClosed) return;
    const silentMs = wheel.now - this.activeAt;
    if (this.isStuck) {
      if (silentMs >= limits.borrowedIdleTimeoutMs) {
        const seconds = limits.borrowedIdleTimeoutMs / 1000;
        const error = new BerthError('borrowed_idle_timeout', { params: { seconds } });
        this.close('borrowed_idle_timeout', error);
        return;
      }
    } else if (this.isIdle) {
      if (silentMs >= limits.idleClientTimeoutMs) {
        const seconds = limits.idleClientTimeoutMs / 1000;
        this.close('idle_timeout', new BerthError('idle_client_timeout', { params: { seconds } }));
        return;
      }
      if (wheel.now - this.openedAt >= limits.clientLifetimeMs) {
        const hours = limits.clientLifetimeMs / 3_600_000;
        this.close('lifetime', new BerthError('client_lifetime', { params: { hours } }));
        return;
      }
    }
    wheel.arm(this.timer, this.nextLook());
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
    const { ledger } = connection;
    return ledger.isEmpty || ledger.isCopyIn || this.relay.bodyLeft > 0;
  }

  private nextLook(): number {
    const { limits, wheel } = this.endpoint;
    if (this.stream.isCongested) return LOOK_AGAIN_MS;
    const first = Math.min(limits.borrowedIdleTimeoutMs, limits.idleClientTimeoutMs);
    return Math.max(this.activeAt + first - wheel.now, Math.min(first, LOOK_AGAIN_MS));
  }

  /** The client is gone. */
  closed(): void {
    this.leave('client_gone');
  }

  /** Ends the session from this side, after telling the client why. */
  close(reason: ClientCloseReason, error?: BerthError): void {
    if (this.isClosed) return;
    const canBeTold = this.connection?.isMidMessage !== true;
    if (error !== undefined && canBeTold) this.stream.write(errorResponse('FATAL', error));
    this.stream.handler = IGNORE;
    this.stream.end(this.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  private leave(reason: ClientCloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.endpoint.wheel.disarm(this.timer);
    this.waiter?.abandon();
    this.waiter = undefined;
    this.held = undefined;
    this.isWaitingForAnswer = false;
    this.relay.end();
    const { connection } = this;
    if (connection !== undefined) this.leaveConnection(connection);
    this.endpoint.sessionClosed(this, reason);
  }

  private leaveConnection(connection: DatabaseConnection): void {
    // A request of which the database saw only a part cannot be finished or taken back.
    const isCut = this.relay.bodyLeft > 0;
    this.detach(connection);
    if (this.settings.isHarsh) connection.isDirty = true;
    const { ledger, isDirty, cancelsInFlight, unfitBy } = connection;
    const { pool } = this.userPool;
    if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
    else if (isCut || ledger.isDoubtful)
      pool.release(connection, 'destroy', 'client_gone_in_request');
    else if (ledger.isSettled && !isDirty && cancelsInFlight === 0)
      pool.release(connection, 'clean');
    else pool.release(connection, 'cleanable');
  }
}

/** There is one for each client, so it carries no closure. */
class SessionTimer extends WheelTimer {
  private readonly session: ClientSession;

  constructor(session: ClientSession) {
    super();
    this.session = session;
  }

  fire(): void {
    this.session.lookAtClock();
  }
}

/** While a statement runs for long, the clock is looked at this often at least. */
const LOOK_AGAIN_MS = 1_000;
const EMPTY = Buffer.alloc(0);
export interface SessionOptions {
  readonly id: ClientConnectionId;
  readonly endpoint: EndpointContext;
  readonly stream: Stream;
  readonly userPool: UserPool;
  readonly settings: SessionSettings;
  /** Shared by all sessions of the proxy. */
  readonly statements: StatementRegistry;
  readonly parameters: ReportedParameters;
  readonly priority: number;
  readonly cancelKey: string;
}
