/**
 * A client after its login: borrows a database connection with the first command that needs one, and
 * gives it back when the ledger says that nothing is owed, the status flags that no transaction is open,
 * and nothing pins. What the client sends goes through its relay; here is when it may, for how long, and
 * how it ends. What the session is, apart from its connection, is in its `SessionState`.
 */

import { BerthError } from '../../base/errors.ts';
import type { ClientConnectionId } from '../../base/ids.ts';
import {
  HOLD_LEDGER_FULL,
  HOLD_OWN_CONGESTED,
  HOLD_PEER_CONGESTED,
  HOLD_QUEUED,
  IGNORE,
  type Stream,
  type StreamHandler,
} from '../../net/stream.ts';
import type { SessionDescription, SessionState as StateName } from '../../observe/descriptions.ts';
import type { ClientCloseReason, PinReason } from '../../observe/reasons.ts';
import type { Borrower, Waiter } from '../../pool/contract.ts';
import type { EffectSet } from '../../sql/mysql/effects.ts';
import { PlainTexts } from '../../sql/mysql/plain-texts.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import { Pins } from '../pins.ts';
import { SessionClock } from '../session-clock.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { type Kill, kill, killIn } from './kills.ts';
import { OURS } from './ledger.ts';
import { Leftovers, type LeftoversHost } from './leftovers.ts';
import { PreviousStatement, type PreviousStatementHost } from './previous-statement.ts';
import { PIPELINE_MAX, Relay, type RelayHost } from './relay.ts';
import type { Session } from './session.ts';
import { type InitialState, type Replay, SessionState } from './session-state.ts';
import { CurrentReading, type Reading } from './statement/reading.ts';
import type { StatementRegistry } from './statement/registry.ts';
import type { Tracking } from './tracking.ts';
import type { NewUser, UserChange } from './user-change.ts';
import type { UserPool } from './user-pool.ts';
import { CLIENT_DEPRECATE_EOF, EOF_HEADER, has } from './wire/capabilities.ts';
import { readChangeUser } from './wire/handshake.ts';
import { eofPacket, errorPacket, okPacket } from './wire/replies.ts';

/** What a client may send while it waits for a connection; more stays in its socket. */
const HELD_WHILE_QUEUED_MAX = 64 * 1024;
/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;
/** A request is given up when this many connections were lost before anything of it was sent. */
const CONNECTIONS_LOST_MAX = 3;
/** One for the process: what a text does is the same for all. */
const PLAIN_TEXTS = new PlainTexts();
/** The sequence number of what a client is told first in answer to a command. */
const FIRST = 1;

export interface SessionOptions {
  readonly id: ClientConnectionId;
  readonly threadId: number;
  readonly endpoint: EndpointContext;
  readonly stream: Stream;
  readonly userPool: UserPool;
  /** What the client and the proxy agreed on. */
  readonly capabilities: number;
  readonly mariadbCapabilities: number;
  /** The number of the collation in the client's greeting. */
  readonly collation: number;
  readonly state: InitialState;
  readonly applicationName: string;
  readonly priority: number;
}

export class ClientSession
  implements
    StreamHandler,
    Borrower<DatabaseConnection>,
    ConnectionHolder,
    RelayHost,
    LeftoversHost,
    PreviousStatementHost,
    Session
{
  readonly id: ClientConnectionId;
  readonly threadId: number;
  userPool: UserPool;
  readonly capabilities: number;
  readonly mariadbCapabilities: number;
  readonly collation: number;
  private readonly endpoint: EndpointContext;
  private readonly stream: Stream;
  private applicationName: string;
  private priority: number;
  private readonly relay: Relay;
  private own: SessionState;
  private readonly pins: Pins<DatabaseConnection>;
  private readonly leftovers: Leftovers;
  private readonly previous: PreviousStatement;
  private readonly currentReading = new CurrentReading();
  private waiter: Waiter | undefined = undefined;
  /** COM_CHANGE_USER is under way. */
  private changing: UserChange | undefined = undefined;
  /** What was received while waiting for a connection. */
  private held: Buffer[] | undefined = undefined;
  /** What is held cannot go on before the database has answered more. */
  private isWaitingForAnswer = false;
  /** Replays of which the database has not told yet whether they went well. */
  private replaysOwed = 0;
  /** Their names, when they are not known to go well and what is held waits for them. */
  private unproven: string[] | undefined = undefined;
  /** Connections in a row that were lost before anything of a request was sent on them. */
  private lost = 0;
  /** Somebody's KILL QUERY, while the proxy's own statement runs. */
  private cancelAfterOwn: (() => void) | undefined = undefined;
  /** When the request that is under way began, in milliseconds of `performance.now()`; 0 for none. */
  private requestedAt = 0;
  readonly clock: SessionClock;
  private isDraining = false;
  private isClosed = false;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.threadId = options.threadId;
    this.endpoint = options.endpoint;
    this.stream = options.stream;
    this.userPool = options.userPool;
    this.capabilities = options.capabilities;
    this.mariadbCapabilities = options.mariadbCapabilities;
    this.collation = options.collation;
    this.own = new SessionState(options.state);
    this.applicationName = options.applicationName;
    this.priority = options.priority;
    this.pins = new Pins(options.endpoint, options.id);
    this.leftovers = new Leftovers(this, options.endpoint, this.pins);
    this.previous = new PreviousStatement(this, options.endpoint);
    this.relay = new Relay(this, options.stream);
    this.clock = new SessionClock(this, options.endpoint);
    this.clock.lookAgain(options.stream.isCongested);
  }

  get tracking(): Tracking {
    return this.own.tracking;
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  get isPinned(): boolean {
    return this.pins.isPinned;
  }

  /** Reads what is there when somebody asks; nothing is kept for it. */
  describe(): SessionDescription {
    const { connection, endpoint, stateName: state, stream } = this;
    const isRequestTimed = this.requestedAt > 0 && (state === 'queued' || state === 'active');
    const stateMs = isRequestTimed ? performance.now() - this.requestedAt : this.clock.silentMs;
    const now = Date.now();
    return {
      clientConnection: this.id,
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      user: this.userPool.pool.key.user,
      database: this.own.schema,
      clientAddress: stream.remoteAddress,
      applicationName: this.applicationName,
      isEncrypted: stream.isEncrypted,
      loggedInAt: now - this.clock.ageMs,
      state,
      stateSince: now - stateMs,
      databaseConnection: connection && { id: connection.id, processId: connection.threadId },
      pin: this.pins.pin,
    };
  }

  private get stateName(): StateName {
    const { connection } = this;
    if (this.waiter !== undefined) return 'queued';
    if (connection === undefined) return 'idle';
    if (!connection.ledger.isQuiet || this.relay.isMidCommand) return 'active';
    if (connection.isInTransaction) return 'in_transaction';
    return this.isPinned ? 'pinned' : 'active';
  }

  private get connection(): DatabaseConnection | undefined {
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
      this.close('internal_error', this.internalError(error));
      return;
    }
    this.giveBackIfSettled();
  }

  private internalError(cause?: unknown): BerthError {
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

  violated(error: BerthError): void {
    this.close('protocol_violation', error);
  }

  requested(): void {
    const { counters } = this.endpoint;
    this.leftovers.requested();
    this.previous.requested();
    // A pinned session borrows nothing.
    if (this.requestedAt === 0) this.requestedAt = performance.now();
    counters.queryRequests++;
    if (this.stream.isEncrypted) counters.queryRequestsTls++;
  }

  get syntax(): Syntax {
    return this.own.syntax;
  }

  judge(bytes: Buffer, from: number, to: number): EffectSet {
    return PLAIN_TEXTS.classify(bytes, from, to, this.own.syntax);
  }

  running(all: EffectSet, bytes: Buffer, from: number, to: number): void {
    const { connection } = this;
    if (connection === undefined) return;
    const effects = this.leftovers.running(connection, all, bytes, from, to);
    const replay = this.previous.replayFor(connection, effects);
    if (replay !== undefined) this.replay(connection, [replay]);
  }

  get statements(): StatementRegistry {
    return this.endpoint.statements;
  }

  get reading(): Reading {
    return this.currentReading.of(this.own);
  }

  largeStatements(hasSome: boolean): void {
    const { connection } = this;
    if (connection === undefined) return;
    if (hasSome) this.pin('large_statement', '');
    else this.pins.remove(connection, 'large_statement');
  }

  schemaWanted(): void {
    this.usePool(true);
  }

  /** Sessions without a schema borrow from a pool of their own; see `MySqlEngine`. */
  private usePool(hasSchema: boolean): void {
    if (this.userPool.hasSchema === hasSchema) return;
    this.userPool = this.endpoint.changePool(this.userPool, hasSchema);
  }

  /** Returns whether there is a connection now; otherwise `rest` waits. */
  acquire(rest: Buffer, effects: EffectSet): boolean {
    this.requestedAt = performance.now();
    const { pool } = this.userPool;
    const connection = this.previous.formerConnection(effects) ?? pool.borrow();
    if (connection !== undefined) {
      this.attach(connection);
      if (!this.isWaitingForAnswer) return true;
      this.held = [rest];
      return false;
    }
    this.held = [rest];
    this.waiter = pool.wait(this, this.priority);
    return false;
  }

  wait(rest: Buffer): void {
    this.held = [rest];
    this.isWaitingForAnswer = true;
  }

  // --- What is answered here

  pinged(): void {
    this.deliver(okPacket(FIRST, this.capabilities, { status: this.own.status }));
  }

  refuse(error: BerthError): void {
    this.deliver(errorPacket(FIRST, error));
  }

  optionSet(allowsMultiStatements: boolean): void {
    this.own.allowsMultiStatements = allowsMultiStatements;
    const { connection } = this;
    if (connection !== undefined) {
      this.replay(connection, this.own.replaysFor(connection));
      this.relay.sendPrepended();
    }
    const { status } = this.own;
    this.deliver(
      has(this.capabilities, CLIENT_DEPRECATE_EOF)
        ? okPacket(FIRST, this.capabilities, { header: EOF_HEADER, status })
        : eofPacket(FIRST, status),
    );
  }

  resetWithoutConnection(): void {
    this.own.reset(this.userPool.base);
    this.previous.forget();
    this.deliver(okPacket(FIRST, this.capabilities));
  }

  userChanged(payload: Buffer, rest: Buffer): void {
    const change = readChangeUser(payload, this.capabilities);
    if (change === undefined) {
      this.violated(new BerthError('protocol_violation', { params: { what: 'COM_CHANGE_USER' } }));
      return;
    }
    // Whatever comes of it, nothing is left of what the session was.
    const { connection } = this;
    if (connection !== undefined) {
      connection.isDirty = true;
      this.leaveConnection(connection);
    }
    this.leftovers.forget();
    this.previous.forget();
    this.requestedAt = 0;
    this.relay.statements.clear();
    this.own.reset(this.userPool.base);
    this.changing = this.endpoint.changeUser(this, this.stream, change);
    this.stream.handler = this.changing;
    if (rest.length > 0) this.changing.received(rest);
  }

  /** COM_CHANGE_USER has ended; with `as`, the session is that user's from here on. */
  userChangeEnded(as: NewUser | undefined, rest: Buffer | undefined): void {
    this.changing = undefined;
    if (this.isClosed) return;
    if (as !== undefined) {
      this.userPool = as.userPool;
      this.own = new SessionState(as.state);
      this.applicationName = as.applicationName;
      this.priority = as.priority;
    }
    this.clock.active();
    this.stream.handler = this;
    if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
    else if (rest !== undefined) this.received(rest);
  }

  knows(id: number): boolean {
    return this.endpoint.sessionFor(id) !== undefined;
  }

  killIn(bytes: Buffer, from: number, to: number): Kill | undefined {
    const found = killIn(bytes, from, to, this.own.syntax);
    return found !== undefined && this.knows(found.id) ? found : undefined;
  }

  kill(what: Kill): void {
    const error = kill(this, this.endpoint.sessionFor(what.id), what);
    if (error !== undefined) this.refuse(error);
    else if (!this.isClosed) this.pinged();
  }

  // --- Borrowing

  private attach(connection: DatabaseConnection): void {
    this.relay.connection = connection;
    connection.lentTo(this);
    this.endpoint.counters.borrows++;
    const { statements } = connection;
    if (statements.hasCloses) this.relay.prepend(statements.takeCloses());
    this.replay(connection, this.own.replaysFor(connection));
    const ofInsertId = this.previous.replayAtFirst(connection);
    if (ofInsertId !== undefined) this.replay(connection, [ofInsertId]);
    if (this.endpoint.limits.isSessionMode) this.pin('session_mode', '');
  }

  /**
   * Runs what makes the connection the session's, before what the client has sent. What has gone well
   * before goes out together with the client's request; of the rest the database is waited for, because
   * an error would not keep it from running what comes behind.
   */
  replay(connection: DatabaseConnection, replays: readonly Replay[] | undefined): void {
    if (replays === undefined) return;
    const unproven: string[] = [];
    for (const { message, owes, name } of replays) {
      connection.owesReplay(owes);
      this.replaysOwed++;
      this.relay.prepend(message);
      if (name !== undefined && !this.userPool.isProven(name)) unproven.push(name);
    }
    if (unproven.length === 0) return;
    this.unproven = unproven;
    this.isWaitingForAnswer = true;
    this.relay.sendPrepended();
  }

  granted(connection: DatabaseConnection): void {
    this.waiter = undefined;
    const { counters } = this.endpoint;
    counters.borrowLatencyMicros += (performance.now() - this.requestedAt) * 1000;
    this.attach(connection);
    if (!this.isWaitingForAnswer) this.processHeld();
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
    if (error.code === 'borrow_timeout') this.refuseHeld(error);
    else this.close('borrow_failed', error);
  }

  /** The protocol knows no notices; that the client is still there, its socket tells. */
  stillWaiting(): void {}

  /** Answers the command that waits with `error`; what comes after it goes on. */
  private refuseHeld(error: BerthError): void {
    this.requestedAt = 0;
    this.refuse(error);
    const [first, ...others] = this.held ?? [];
    if (first === undefined) return;
    const rest = this.relay.dropCommand(first);
    this.held = rest.length > 0 ? [rest, ...others] : others;
    this.processHeld();
  }

  // --- What the database connection says

  deliver(bytes: Uint8Array): void {
    this.stream.write(bytes);
  }

  deliverChunk(bytes: Buffer): void {
    this.stream.give(bytes);
  }

  congested(): void {
    this.clock.active();
    this.clock.lookAgain(true);
    this.stream.hold(HOLD_OWN_CONGESTED);
    this.connection?.stream.hold(HOLD_PEER_CONGESTED);
  }

  answered(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.replied();
    if (this.cancelAfterOwn !== undefined) this.cancelBehind(connection);
    if (connection.ledger.isEmpty) this.settled(connection);
    const isUnready = this.unproven !== undefined || this.previous.isAsking;
    if (this.isWaitingForAnswer && !isUnready) this.goOn();
  }

  /** The pipeline may go on. */
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
    this.clock.active();
    this.measure(connection);
    this.giveBackIfSettled();
  }

  private measure(connection: DatabaseConnection): void {
    if (this.requestedAt === 0 || this.unproven !== undefined) return;
    if (this.relay.statements.isPreparing) return;
    const micros = (performance.now() - this.requestedAt) * 1000;
    this.requestedAt = 0;
    const { counters } = this.endpoint;
    counters.queryResponses++;
    counters.queryResponseLatencyMicros += micros;
    connection.target.counters.queryDatabaseResponses++;
    connection.target.counters.queryDatabaseResponseLatencyMicros += micros;
  }

  requestFailed(isFirst: boolean): void {
    if (isFirst) this.leftovers.requestFailed(this.connection?.ledger.isQuiet === true);
  }

  replayed(error: Uint8Array | undefined): void {
    this.replaysOwed--;
    if (error !== undefined) {
      const databaseMessage = Buffer.from(error);
      const { connection } = this;
      // What is behind it has been run, or may be, on a connection that is not the session's.
      if (connection !== undefined) connection.unfitBy = 'state_left';
      this.close('internal_error', new BerthError('internal', { databaseMessage }));
      return;
    }
    if (this.replaysOwed > 0 || this.unproven === undefined) return;
    this.lost = 0;
    for (const name of this.unproven) this.userPool.prove(name);
    this.unproven = undefined;
  }

  wasReset(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.own.reset(this.userPool.base);
    this.previous.forget();
    this.leftovers.wasReset(connection, this.endpoint.limits.isSessionMode);
  }

  connectionCongested(): void {
    this.stream.hold(HOLD_PEER_CONGESTED);
  }

  connectionDrained(): void {
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  connectionLost(lastWord: Uint8Array | undefined): void {
    if (this.isNothingSent && ++this.lost < CONNECTIONS_LOST_MAX) {
      this.borrowAnother();
      return;
    }
    const isMidAnswer = this.connection?.isMidAnswer === true;
    this.relay.detach();
    if (this.leftovers.isEnding && lastWord === undefined) {
      this.close('client_request');
      return;
    }
    const options = lastWord === undefined ? {} : { databaseMessage: lastWord };
    const error = new BerthError('connection_lost', options);
    this.close('database_lost', isMidAnswer ? undefined : error);
  }

  /** The connection has seen nothing of the request that it was borrowed for, nor of any other. */
  private get isNothingSent(): boolean {
    const { connection, isPinned, leftovers, unproven } = this;
    if (connection === undefined || unproven === undefined || isPinned) return false;
    return (
      leftovers.requests === 0 && connection.ledger.isOnlyReplays && !connection.isInTransaction
    );
  }

  private borrowAnother(): void {
    this.relay.detach();
    this.replaysOwed = 0;
    this.unproven = undefined;
    this.cancelAfterOwn?.();
    this.cancelAfterOwn = undefined;
    this.goOn();
  }

  // --- What the session leaves on its connection

  private pin(reason: PinReason, text: string): void {
    const { connection } = this;
    if (connection !== undefined) this.pins.add(connection, reason, text);
  }

  pinUnknown(connection: DatabaseConnection): void {
    this.pins.add(connection, 'unknown', '');
  }

  giveBackIfSettled(): void {
    const { connection, leftovers, previous } = this;
    if (connection === undefined || !connection.ledger.isQuiet || this.relay.isMidCommand) return;
    if (this.unproven !== undefined || leftovers.isAsking || previous.isAsking) return;
    if (this.relay.statements.isPreparing) return;
    const mayKeep = leftovers.requests > 0 && !this.isPinned && !this.isDraining;
    if (mayKeep && previous.keep(connection, leftovers.effects)) return;
    if (connection.ledger.isStatusUnsure) {
      connection.askStatus();
      return;
    }
    if (leftovers.askVariables(connection)) return;
    leftovers.undoSetStatement(connection, this.own.settings);
    this.own.adopt(connection);
    if (connection.state.isLocked) this.pin('table_lock', leftovers.suspectDigest);
    if (!connection.isSettled) return;
    this.requestedAt = 0;
    if (this.relay.statements.areTied) return;
    leftovers.investigate(connection);
    if (this.isPinned) {
      if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
      return;
    }
    if (previous.askInsertId(connection)) {
      // The question takes the id away, so whatever comes meanwhile waits for the answer.
      this.held ??= [];
      this.isWaitingForAnswer = true;
      return;
    }
    this.giveBack(connection);
    this.usePool(this.own.schema !== '');
    if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
  }

  private giveBack(connection: DatabaseConnection): void {
    const { userPool } = this;
    // Nothing takes it away again, and whoever comes there has none.
    if (!userPool.hasSchema && connection.state.schema !== '') connection.unfitBy = 'state_left';
    this.detach(connection);
    const { cancelsInFlight, isDirty, unfitBy } = connection;
    if (unfitBy !== undefined) userPool.pool.release(connection, 'destroy', unfitBy);
    else
      userPool.pool.release(connection, cancelsInFlight === 0 && !isDirty ? 'clean' : 'cleanable');
  }

  private detach(connection: DatabaseConnection): void {
    this.relay.detach();
    this.previous.detached(connection);
    this.replaysOwed = 0;
    this.unproven = undefined;
    connection.takenBack();
    this.stream.letGo(HOLD_PEER_CONGESTED);
    this.cancelAfterOwn?.();
    this.cancelAfterOwn = undefined;
  }

  // --- Kill, clocks, end

  /** Of what waits or runs; not of what the proxy runs before it, of which the client knows nothing. */
  cancel(done: () => void): void {
    const { connection } = this;
    if (this.waiter !== undefined) {
      this.waiter.abandon();
      this.waiter = undefined;
      this.refuseHeld(new BerthError('query_canceled'));
      done();
    } else if (connection === undefined || connection.ledger.isEmpty) {
      done();
    } else if ((connection.ledger.head & OURS) !== 0) {
      this.cancelAfterOwn?.();
      this.cancelAfterOwn = done;
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

  /** A KILL that came while a statement of ours ran is for the client's behind it, if there is one. */
  private cancelBehind(connection: DatabaseConnection): void {
    const cancel = this.cancelAfterOwn;
    if (cancel === undefined || (connection.ledger.head & OURS) !== 0) return;
    this.cancelAfterOwn = undefined;
    if (connection.ledger.isEmpty) cancel();
    else this.forwardCancel(connection, cancel);
  }

  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void {
    this.isDraining = true;
    const { connection } = this;
    const isBusy =
      this.changing !== undefined ||
      this.waiter !== undefined ||
      (connection !== undefined && !this.isIdlePinned);
    if (!isBusy) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** Holds a connection only because it is pinned. */
  private get isIdlePinned(): boolean {
    return this.isPinned && (this.connection?.isSettled ?? false);
  }

  drained(): void {
    this.clock.active();
    this.stream.letGo(HOLD_OWN_CONGESTED);
    this.connection?.stream.letGo(HOLD_PEER_CONGESTED);
  }

  /** The one timer of a session: looks at what is overdue, and arms itself for what is due next. */
  lookAtClock(): void {
    this.stream.retry();
    if (this.isClosed) return;
    this.previous.lookAtClock();
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
    const { ledger } = connection;
    return ledger.isEmpty || ledger.isReadingFile || this.relay.isMidCommand;
  }

  /** The client is gone. */
  closed(): void {
    this.leave('client_gone');
  }

  /** Ends the session from this side, after telling the client why. */
  close(reason: ClientCloseReason, error?: BerthError): void {
    if (this.isClosed) return;
    const canBeTold = this.connection?.isMidAnswer !== true;
    if (error !== undefined && canBeTold)
      this.stream.write(errorPacket(this.isAsked ? 1 : 0, error));
    this.stream.handler = IGNORE;
    this.stream.end(this.endpoint.wheel, CLOSE_LINGER_MS);
    this.leave(reason);
  }

  /** The client waits for an answer; what is said otherwise begins a sequence of its own. */
  private get isAsked(): boolean {
    return (this.held !== undefined && this.held.length > 0) || this.requestedAt > 0;
  }

  private leave(reason: ClientCloseReason): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.changing?.stop();
    this.clock.stop();
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
    const { ledger } = connection;
    // A request of which the database saw only a part cannot be finished or taken back.
    const isCut = this.relay.isMidCommand || ledger.isReadingFile;
    if (!this.userPool.hasSchema && connection.state.schema !== '')
      connection.unfitBy = 'state_left';
    if (this.leftovers.mayBeThere(connection)) connection.isDirty = true;
    // An open cursor, or values that were sent ahead: nobody knows of them any more.
    if (this.relay.statements.areTied) connection.isDirty = true;
    this.detach(connection);
    const { cancelsInFlight, isDirty, unfitBy } = connection;
    const { pool } = this.userPool;
    if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
    else if (isCut) pool.release(connection, 'destroy', 'client_gone_in_request');
    else if (connection.isSettled && !isDirty && cancelsInFlight === 0)
      pool.release(connection, 'clean');
    else pool.release(connection, 'cleanable');
  }
}
