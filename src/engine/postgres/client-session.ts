/**
 * A client after its login: borrows a database connection with the first message that needs one, and
 * gives it back when the ledger says that nothing is owed, the transaction is over and nothing pins.
 * What the client sends goes through its relay; here is when it may, for how long, and how it ends.
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
import type { SessionDescription, SessionState } from '../../observe/descriptions.ts';
import type { ClientCloseReason, PinReason } from '../../observe/reasons.ts';
import type { Borrower, Waiter } from '../../pool/contract.ts';
import { digest } from '../../sql/postgres/digest.ts';
import type { Effects } from '../../sql/postgres/effects.ts';
import { recogniseListen } from '../../sql/postgres/listen-statements.ts';
import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import { Pins } from '../pins.ts';
import { SessionClock } from '../session-clock.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { KIND, OURS, OWES_QUERY } from './ledger.ts';
import { Leftovers, type LeftoversHost } from './leftovers.ts';
import { ClientSubscriptions, type SubscriberHost } from './notification/client-subscriptions.ts';
import { MAILBOX_BYTES_MAX } from './notification/mailbox.ts';
import { PIPELINE_MAX } from './outbox.ts';
import { OwnStatement } from './own-statement.ts';
import type { ReportedParameters } from './parameters.ts';
import { Relay } from './relay.ts';
import type { RelayHost } from './relay-host.ts';
import { processIdOf, type Session } from './session.ts';
import type { SessionSettings } from './settings.ts';
import type { Difference } from './statement/connection-statements.ts';
import type { StatementRegistry } from './statement/registry.ts';
import type { UserPool } from './user-pool.ts';
import { errorResponse, noticeResponse, READY_IDLE } from './wire/backend.ts';
import type { BoundParameters } from './wire/bound-parameters.ts';
import { FUNCTION_CALL, QUERY, SYNC } from './wire/messages.ts';

/** What a client may send while it waits for a connection; more stays in its socket. */
const HELD_WHILE_QUEUED_MAX = 64 * 1024;
const HELD_PIECES_MAX = 64;
/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;

export class ClientSession
  implements
    StreamHandler,
    Borrower<DatabaseConnection>,
    ConnectionHolder,
    RelayHost,
    Session,
    SubscriberHost,
    LeftoversHost
{
  readonly id: ClientConnectionId;
  readonly userPool: UserPool;
  readonly cancelKey: string;
  readonly processId: number;
  private readonly endpoint: EndpointContext;
  private readonly stream: Stream;
  /** What the client asked for in its start-up packet. */
  private readonly initialSettings: SessionSettings;
  private settings: SessionSettings;
  private readonly priority: number;
  /** What the client has been told of the database's parameters. */
  private parameters: ReportedParameters;
  private readonly relay: Relay;
  private waiter: Waiter | undefined = undefined;
  private readonly pins: Pins<DatabaseConnection>;
  private readonly leftovers: Leftovers;
  /** What was received while waiting for a connection. */
  private held: Buffer[] | undefined = undefined;
  private heldBytes = 0;
  /** What is held cannot go on before the database has answered more. */
  private isWaitingForAnswer = false;
  /** What is held goes to the connection that the session has, once it has the session's role. */
  private isWaitingForRole = false;
  /** What is held cannot go on before a hub has answered. */
  private isWaitingForHub = false;
  /** What is held cannot go on before a cancel that is on its way has ended. */
  private isWaitingForCancel = false;
  /** An answer is held back until the notifications before it have come. */
  private isCatchingUp = false;
  /** What the client listens to by way of a hub, once it has tried to. */
  subscriptions: ClientSubscriptions | undefined = undefined;
  private cancelAfterOwn: (() => void) | undefined = undefined;
  /** When the request that is under way began, in milliseconds of `performance.now()`; 0 for none. */
  private requestedAt = 0;
  private readonly clock: SessionClock;
  private isDraining = false;
  private isClosed = false;

  constructor(options: SessionOptions) {
    this.id = options.id;
    this.processId = processIdOf(options.id);
    this.endpoint = options.endpoint;
    this.stream = options.stream;
    this.userPool = options.userPool;
    this.initialSettings = options.settings;
    this.settings = options.settings;
    this.parameters = options.parameters;
    this.priority = options.priority;
    this.cancelKey = options.cancelKey;
    this.pins = new Pins(options.endpoint, options.id);
    this.leftovers = new Leftovers(this, this.pins);
    this.relay = new Relay(this, options.stream, options.statements, options.settings.variant);
    this.clock = new SessionClock(this, options.endpoint);
    this.clock.lookAgain(options.stream.isCongested);
  }

  get isEncrypted(): boolean {
    return this.stream.isEncrypted;
  }

  /** Reads what is there when somebody asks; nothing is kept for it. */
  describe(): SessionDescription {
    const { connection, endpoint, pins, state, stream } = this;
    const { user, database } = this.userPool.pool.key;
    const isRequestTimed = this.requestedAt > 0 && (state === 'queued' || state === 'active');
    const stateMs = isRequestTimed ? performance.now() - this.requestedAt : this.clock.silentMs;
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
      loggedInAt: now - this.clock.ageMs,
      state,
      stateSince: now - stateMs,
      databaseConnection: connection && {
        id: connection.id,
        processId: connection.cancelKey?.processId,
      },
      pin: pins.pin,
    };
  }

  private get state(): SessionState {
    const { connection } = this;
    if (this.waiter !== undefined) return 'queued';
    if (connection === undefined) return 'idle';
    if (!connection.ledger.isQuiet || this.relay.bodyLeft > 0) return 'active';
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
    const { connection } = this;
    if (connection?.ledger.isDoubtful) this.resolveDoubt(connection);
    this.giveBackIfSettled();
  }

  private internalError(cause: unknown): BerthError {
    return new BerthError('internal', { detail: `Session ${this.id}.`, cause });
  }

  private keepWhileQueued(bytes: Buffer): void {
    const held = this.held ?? [];
    held.push(bytes);
    this.heldBytes += bytes.length;
    // What trickles in must not cost an object for each byte.
    if (held.length >= HELD_PIECES_MAX) this.held = [Buffer.concat(held)];
    if (this.heldBytes > HELD_WHILE_QUEUED_MAX) this.stream.hold(HOLD_QUEUED);
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
    this.leftovers.requests++;
    const { connection, subscriptions } = this;
    if (subscriptions !== undefined && connection?.ledger.isEmpty === true) {
      // While a cancel is on its way, the database may not have been asked about the last LISTEN.
      if (connection.cancelsInFlight === 0) subscriptions.notCommittedYet();
    }
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
      if (!this.isWaitingForAnswer) return true;
      this.keep(rest);
      return false;
    }
    this.keep(rest);
    this.waiter = pool.wait(this, this.priority);
    return false;
  }

  wait(rest: Buffer): void {
    this.keep(rest);
    this.isWaitingForAnswer = !this.isWaitingForHub;
  }

  /** What comes from here on waits behind `rest`. */
  private keep(rest: Buffer): void {
    this.held = [rest];
    this.heldBytes = rest.length;
  }

  get isPinned(): boolean {
    return this.pins.isPinned;
  }

  get mayHaveLeft(): boolean {
    return this.leftovers.mayBeThere;
  }

  pin(reason: PinReason, text: Uint8Array): void {
    if (this.connection !== undefined) this.pins.add(this.connection, reason, digest(text));
  }

  // --- What the session leaves on its connection

  suspect(effects: Effects, text: Uint8Array, parameters?: BoundParameters): void {
    const { connection, endpoint } = this;
    if (connection === undefined || endpoint.limits.isSessionMode) return;
    this.leftovers.suspect(connection, effects, text, parameters);
  }

  discarding(): void {
    this.leftovers.discarding();
  }

  requestFailed(fields: ReadonlyMap<string, string>): void {
    this.leftovers.requestFailed(fields);
  }

  /** `actual` is what the connection has now. */
  adopt(connection: DatabaseConnection, actual: SessionSettings): void {
    connection.adopt(actual);
    this.settings = actual.withInitial(this.initialSettings);
    this.relay.names.variant = this.settings.variant;
  }

  // --- Notifications

  get isListening(): boolean {
    return this.subscriptions !== undefined;
  }

  mayListen(text: string): boolean {
    const { connection, endpoint } = this;
    // The relay asks again when nothing else is owed.
    if (this.isWaitingForHub) return false;
    const statements = endpoint.limits.hasNotificationFanOut ? recogniseListen(text) : undefined;
    // Otherwise the connection that it has listens.
    if (connection === undefined || statements === undefined || this.isPinned) return true;
    const { user, database } = this.userPool.pool.key;
    this.subscriptions ??= new ClientSubscriptions(this, user, endpoint.hubFor(database));
    connection.subscriptions = this.subscriptions;
    const { ledger } = connection;
    const isMoreKnownSoon = !ledger.isEmpty && !ledger.isCopyIn;
    if (isMoreKnownSoon && this.subscriptions.isUncertain(statements)) return false;
    const encoding = this.parameters.get('client_encoding');
    const mayListen = this.subscriptions.mayListen(statements, encoding);
    this.isWaitingForHub = !mayListen;
    return mayListen;
  }

  running(text: string): void {
    const databaseProcess = this.connection?.cancelKey?.processId ?? 0;
    this.subscriptions?.running(text, databaseProcess, this.processId);
  }

  hubAnswered(): void {
    this.isWaitingForHub = false;
    if (!this.isWaitingForAnswer) this.processHeld();
  }

  mailArrived(): void {
    const { connection, stream, subscriptions } = this;
    if (subscriptions === undefined || this.isClosed || stream.isCongested) return;
    // As on a server: not in a transaction, and not in the middle of an answer.
    if (connection !== undefined && !this.isIdlePinned) return;
    const mail = subscriptions.takeMail();
    if (mail.length > 0) this.deliver(Buffer.concat(mail));
  }

  mailTaken(count: number): void {
    this.clock.active();
    this.endpoint.counters.notificationsDelivered += count;
  }

  mailboxFull(): void {
    const { endpoint, id } = this;
    endpoint.observer.emit({
      event: 'notifications.dropped',
      proxy: endpoint.proxy,
      endpoint: endpoint.name,
      clientConnection: id,
      bytesMax: MAILBOX_BYTES_MAX,
    });
  }

  mailDropped(): void {
    this.endpoint.counters.notificationsDropped++;
  }

  holdBack(ready: Buffer): boolean {
    const hub = this.subscriptions?.hub;
    if (hub === undefined || !hub.isConnected || this.held !== undefined) return false;
    this.held = [];
    this.isCatchingUp = true;
    const kept = Buffer.from(ready);
    hub.catchUp(() => this.caughtUp(kept));
    return true;
  }

  private caughtUp(ready: Buffer): void {
    if (this.isClosed) return;
    this.isCatchingUp = false;
    this.subscriptions?.authorEnded();
    this.deliver(Buffer.concat([...(this.subscriptions?.takeMail() ?? []), ready]));
    this.giveBackIfSettled();
    if (!this.isWaitingForAnswer) this.processHeld();
  }

  // --- Borrowing

  private attach(connection: DatabaseConnection): void {
    this.relay.connection = connection;
    connection.lentTo(this);
    connection.subscriptions = this.subscriptions;
    this.endpoint.counters.borrows++;
    if (connection.settings !== this.settings) this.replaySettings(connection);
    else if (connection.parameters !== this.parameters) this.tellParameters(connection);
    if (this.endpoint.limits.isSessionMode) this.pin('session_mode', EMPTY);
    if (!this.parameters.isTextReadable) this.pin('unknown', EMPTY);
  }

  private replaySettings(connection: DatabaseConnection): void {
    if (!connection.settings.equals(this.settings)) {
      const replay = this.settings.replayFrom(connection.settings, connection.base);
      const isSure = this.settings.hasRoleOf(connection.settings);
      connection.ledger.owe(OWES_QUERY | OURS);
      connection.unnamedStatement = 0;
      if (isSure) {
        this.relay.prepend(replay);
      } else {
        // What runs in the wrong role could do what the client may not do.
        connection.stream.write(replay);
        this.isWaitingForAnswer = true;
        this.isWaitingForRole = true;
      }
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
    if (!this.isWaitingForAnswer) this.processHeld();
  }

  private processHeld(): void {
    if (this.isWaitingForCancel) return;
    const held = this.held ?? [];
    this.held = undefined;
    this.heldBytes = 0;
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
    this.isWaitingForRole = false;
    if (!this.isWaitingForHub) this.processHeld();
  }

  /** Everything has been answered. */
  private settled(connection: DatabaseConnection): void {
    this.clock.active();
    this.measure(connection);
    this.resolveDoubt(connection);
    this.giveBackIfSettled();
  }

  /** The reply to an empty query tells what has been answered and what not. */
  private resolveDoubt(connection: DatabaseConnection): void {
    const { ledger } = connection;
    if (!ledger.isDoubtful || !ledger.isQuiet || this.relay.bodyLeft > 0) return;
    // A late cancel may hit it, and an error tells as much.
    connection.run('', new OwnStatement(() => this.cancelBehind(connection)));
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
    this.cancelBehind(connection);
  }

  /** A cancel request that came while a statement of ours ran is for the client's behind it. */
  cancelBehind(connection: DatabaseConnection): void {
    const cancel = this.cancelAfterOwn;
    this.cancelAfterOwn = undefined;
    if (cancel === undefined) return;
    if (connection.ledger.isEmpty) cancel();
    else this.forwardCancel(connection, cancel);
  }

  statementConfirmed(): void {
    this.relay.names.confirmed();
  }

  statementsLost(count: number): void {
    this.relay.names.lost(count);
  }

  statementChanged(difference: Difference): void {
    this.relay.names.changed(difference);
  }

  statementsCleared(): void {
    this.relay.names.cleared();
  }

  discarded(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.settings = this.initialSettings;
    this.relay.names.variant = this.settings.variant;
    this.leftovers.discarded(connection, this.endpoint.limits.isSessionMode);
  }

  nameOf(serverName: string): string | undefined {
    return this.relay.names.nameOf(serverName);
  }

  parseLost(): void {
    this.relay.unnamedLost();
  }

  connectionCongested(): void {
    this.stream.hold(HOLD_PEER_CONGESTED);
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
    if (this.isWaitingForRole) return;
    this.requestedAt = 0;
    if (this.isCatchingUp || this.leftovers.mayBeCancelled(connection)) return;
    if (this.leftovers.investigate(connection)) return;
    const { subscriptions } = this;
    // What has waited for an answer goes on with the connection that gave it: for another one it would
    // queue again, perhaps to wait for an answer of that one, and never have its turn.
    const isGoingOn = this.isWaitingForAnswer && connection.unfitBy === undefined;
    // What was not asked for has not been run, or the session's own connection listens.
    if (!this.isWaitingForHub && !isGoingOn) subscriptions?.nothingExpected();
    if (this.isPinned || isGoingOn) {
      this.relay.named.portalsGone();
      if (this.isDraining && !isGoingOn) this.close('shutdown', new BerthError('shutting_down'));
      else if (connection.settings !== this.settings) this.restore(connection);
      return;
    }
    this.detach(connection);
    if (this.settings.isHarsh) connection.isDirty = true;
    const { cancelsInFlight, unfitBy } = connection;
    const { pool } = this.userPool;
    const isClean = cancelsInFlight === 0 && !connection.isDirty;
    if (unfitBy !== undefined) pool.release(connection, 'destroy', unfitBy);
    else pool.release(connection, isClean ? 'clean' : 'cleanable');
    if (subscriptions?.hasMail === true) this.mailArrived();
    if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** A session that keeps its connection has reset what it had asked for in its start-up packet. */
  private restore(connection: DatabaseConnection): void {
    if (!connection.settings.equals(this.settings)) {
      if (connection.cancelsInFlight > 0) {
        // It could hit this, and what the client sends next relies on it.
        this.held ??= [];
        this.isWaitingForCancel = true;
        return;
      }
      connection.ledger.owe(OWES_QUERY | OURS);
      connection.stream.write(this.settings.replayFrom(connection.settings, connection.base));
      connection.unnamedStatement = 0;
    }
    connection.settings = this.settings;
  }

  private detach(connection: DatabaseConnection): void {
    this.subscriptions?.authorEnded();
    this.relay.detach();
    connection.takenBack();
    this.stream.letGo(HOLD_PEER_CONGESTED);
    this.cancelAfterOwn?.();
    this.cancelAfterOwn = undefined;
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
      // It is meant for the client's statement, if there is one behind ours.
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

  /** Ends the session at the next moment when nothing is in flight. */
  drain(): void {
    this.isDraining = true;
    const { connection } = this;
    const isWaiting = this.waiter !== undefined || this.isWaitingForHub;
    const isBusy = isWaiting || (connection !== undefined && !this.isIdlePinned);
    if (!isBusy) this.close('shutdown', new BerthError('shutting_down'));
  }

  /** Holds a connection only because it is pinned. */
  private get isIdlePinned(): boolean {
    return this.isPinned && (this.connection?.ledger.isSettled ?? false);
  }

  cancelEnded(): void {
    if (this.connection?.cancelsInFlight !== 0) return;
    this.giveBackIfSettled();
    if (!this.isWaitingForCancel) return;
    this.isWaitingForCancel = false;
    if (!this.isWaitingForAnswer && !this.isWaitingForHub) this.processHeld();
  }

  drained(): void {
    this.clock.active();
    this.stream.letGo(HOLD_OWN_CONGESTED);
    this.connection?.stream.letGo(HOLD_PEER_CONGESTED);
    this.mailArrived();
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
    const { ledger } = connection;
    return ledger.isEmpty || ledger.isCopyIn || this.relay.bodyLeft > 0;
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
    this.clock.stop();
    this.waiter?.abandon();
    this.waiter = undefined;
    this.held = undefined;
    this.isWaitingForAnswer = false;
    this.relay.end();
    this.subscriptions?.end();
    const { connection } = this;
    if (connection !== undefined) this.leaveConnection(connection);
    this.endpoint.sessionClosed(this, reason);
  }

  private leaveConnection(connection: DatabaseConnection): void {
    // A request of which the database saw only a part cannot be finished or taken back.
    const isCut = this.relay.bodyLeft > 0;
    this.detach(connection);
    if (this.settings.isHarsh) connection.isDirty = true;
    if (this.leftovers.surviveDiscard) connection.unfitBy = 'state_left';
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
