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
import type { Borrower, Keeper, Waiter } from '../../pool/contract.ts';
import { areSets, killTargetsIn } from '../../sql/mysql/classify.ts';
import { digest } from '../../sql/mysql/digest.ts';
import {
  Effect,
  type EffectSet,
  PINNING,
  pinReasonOf,
  READS_PREVIOUS,
} from '../../sql/mysql/effects.ts';
import { PlainTexts } from '../../sql/mysql/plain-texts.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import { Pins } from '../pins.ts';
import { SessionClock } from '../session-clock.ts';
import { clearedBy } from './clearing.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { OURS } from './ledger.ts';
import { OwnStatement } from './own-statement.ts';
import {
  CurrentReading,
  type Reading,
  type StatementRegistry,
} from './prepared-statements/statement.ts';
import { type Kill, PIPELINE_MAX, Relay, type RelayHost } from './relay.ts';
import type { Session } from './session.ts';
import { type InitialState, type Replay, SessionState } from './session-state.ts';
import type { Tracking } from './tracking.ts';
import type { NewUser, UserChange } from './user-change.ts';
import type { UserPool } from './user-pool.ts';

import { CLIENT_DEPRECATE_EOF, EOF_HEADER, has } from './wire/capabilities.ts';
import { readChangeUser } from './wire/handshake.ts';
import { eofPacket, errorPacket, okPacket } from './wire/replies.ts';

/** What a client may send while it waits for a connection; more stays in its socket. */
const HELD_WHILE_QUEUED_MAX = 64 * 1024;
/** Of a longer text the beginning is kept, for its digest. */
const TEXT_MAX = 4 * 1024;
/** How long a client may take to close its end. */
const CLOSE_LINGER_MS = 5_000;
/** One for the process: what a text does is the same for all. */
const PLAIN_TEXTS = new PlainTexts();
/** What a text may do of which the server tells whether it did, and when it is over. */
const TOLD_BY_SERVER = Effect.nextTransaction | Effect.trackers;
/** What is worth a line in the log, if the server tells that it has left something. */
const TELLING =
  Effect.setting | Effect.role | Effect.call | Effect.setStatement | Effect.mayClear | Effect.xa;
/** What a SET may do to its session that EXCLUDE_VARIABLE_SETS lets pass. */
const OF_VARIABLES = Effect.userVariable | Effect.untrackedSetting;
/** What a statement leaves, or has left as it was, that cannot be asked for in the session's name. */
const ONLY_THERE = Effect.leavesFoundRows | Effect.readsDiagnostics;
/** What may change LAST_INSERT_ID() without a word in its OK packet. */
const LEAVES_INSERT_ID = Effect.leavesInsertId | Effect.call | Effect.unknown | Effect.sqlPrepare;
/** What may ask for LAST_INSERT_ID() without a word of it in the text. */
const MAY_READ_INSERT_ID = Effect.readsInsertId | Effect.call | Effect.unknown | Effect.sqlPrepare;
/** An assignment to a system variable without a scope. */
const UNSCOPED = /@@\s*`?(\w+)`?\s*:?=/g;
/** How long a connection is kept for a statement that may ask for what the last one has left. */
const DIAGNOSTICS_KEPT_MS = 200;
/** Between KILL and the number, other words but HARD and SOFT. */
const KILL_QUERY = /\bquery\b/i;
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
    Keeper,
    RelayHost,
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
  private readonly currentReading = new CurrentReading();
  private waiter: Waiter | undefined = undefined;
  /** COM_CHANGE_USER is under way. */
  private changing: UserChange | undefined = undefined;
  /** What the statements since everything was answered last may have left, by their texts. */
  private effects: EffectSet = 0;
  /** The first of these texts. */
  private suspect: Buffer | undefined = undefined;
  /** What these two were before the last request. */
  private effectsBefore: EffectSet = 0;
  private suspectBefore: Buffer | undefined = undefined;
  /** One of them was a SET that EXCLUDE_VARIABLE_SETS has let pass. */
  private hasExcludedSet = false;
  /** Requests since everything was answered last, and how many of them did nothing but fail. */
  private requests = 0;
  private failures = 0;
  /** What was received while waiting for a connection. */
  private held: Buffer[] | undefined = undefined;
  /** What is held cannot go on before the database has answered more. */
  private isWaitingForAnswer = false;
  /** Replays of which the database has not told yet whether they went well. */
  private replaysOwed = 0;
  /** Their names, when they are not known to go well and what is held waits for them. */
  private unproven: string[] | undefined = undefined;
  /** The database is being asked about the session's own variables. */
  private isAsking = false;
  /** Wheel time until which the connection is kept, although nothing needs it any more; 0 while it is not. */
  private keptUntil = 0;
  /** The connection was kept for long enough, or somebody else waits for it. */
  private isGivingUp = false;
  /** The connection that ran the last statement, and at which of its loans. */
  private former: DatabaseConnection | undefined = undefined;
  private formerLoan = 0;
  /** Somebody's KILL QUERY, while the proxy's own statement runs. */
  private cancelAfterOwn: (() => void) | undefined = undefined;
  /** When the request that is under way began, in milliseconds of `performance.now()`; 0 for none. */
  private requestedAt = 0;
  private readonly clock: SessionClock;
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
    this.requests++;
    this.effectsBefore = this.effects;
    this.suspectBefore = this.suspect;
    if (this.keptUntil > 0) this.unkeep();
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
    const isExcluded = (all & OF_VARIABLES) !== 0 && this.isExcluded(bytes, from, to);
    const effects = isExcluded ? all & ~OF_VARIABLES : all;
    this.effects |= effects;
    if (connection === undefined) return;
    if (isExcluded) {
      this.hasExcludedSet = true;
      connection.isDirty = true;
    }
    // What this loan itself has inserted is there already.
    const isForeignId = !connection.ledger.hasInsertId && !this.isAsking;
    if (isForeignId && (effects & MAY_READ_INSERT_ID) !== 0) {
      const replay = this.own.insertIdReplay(connection);
      if (replay !== undefined) this.replay(connection, [replay]);
    }
    if ((effects & LEAVES_INSERT_ID) !== 0) connection.ledger.hasInsertId = true;
    if ((effects & Effect.setting) !== 0) this.noteUnscoped(connection, bytes, from, to);
    if ((effects & (PINNING | TELLING)) === 0) return;
    this.suspect ??= Buffer.from(bytes.subarray(from, Math.min(to, from + TEXT_MAX)));
  }

  private isExcluded(bytes: Buffer, from: number, to: number): boolean {
    if (!this.endpoint.limits.areVariableSetsExcluded) return false;
    return areSets(bytes, from, to, this.own.syntax);
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

  /** MariaDB does not report what is set as `@@name = ...`, without a scope. */
  private noteUnscoped(
    { state }: DatabaseConnection,
    bytes: Buffer,
    from: number,
    to: number,
  ): void {
    for (const [, name = ''] of bytes.toString('latin1', from, to).matchAll(UNSCOPED)) {
      state.mayHaveChanged(name);
    }
  }

  /** Returns whether there is a connection now; otherwise `rest` waits. */
  acquire(rest: Buffer, effects: EffectSet): boolean {
    this.requestedAt = performance.now();
    const { pool } = this.userPool;
    const connection = this.formerConnection(effects) ?? pool.borrow();
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

  /** For a statement about the one before: the connection that ran it, if nobody has had it since. */
  private formerConnection(effects: EffectSet): DatabaseConnection | undefined {
    if ((effects & READS_PREVIOUS) === 0) return undefined;
    const { former } = this;
    if (former === undefined) return undefined;
    const isUntouched = former.loans === this.formerLoan && former.pool === this.userPool.pool;
    if (isUntouched && this.userPool.pool.borrowAgain(former)) return former;
    if ((effects & READS_PREVIOUS & ~Effect.readsInsertId) !== 0) {
      this.endpoint.counters.diagnosticsLost++;
    }
    return undefined;
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
    this.pins.forget();
    this.forgetStatements();
    this.relay.statements.clear();
    this.own.reset(this.userPool.base);
    this.changing = this.endpoint.changeUser(this, this.stream, change);
    this.stream.handler = this.changing;
    if (rest.length > 0) this.changing.received(rest);
  }

  private forgetStatements(): void {
    this.effects = 0;
    this.suspect = undefined;
    this.requests = 0;
    this.failures = 0;
    this.requestedAt = 0;
    this.former = undefined;
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
    const [target, ...others] = killTargetsIn(bytes, from, to, this.own.syntax);
    if (target === undefined || others.length > 0) return undefined;
    const id = Number(bytes.toString('latin1', from + target.from, from + target.to));
    if (!this.knows(id)) return undefined;
    const isQueryOnly = KILL_QUERY.test(bytes.toString('latin1', from, from + target.from));
    return { id, isQueryOnly };
  }

  /** As a server does: one's own connections, and nobody else's. */
  kill(id: number, isQueryOnly: boolean): void {
    const session = this.endpoint.sessionFor(id);
    if (session === undefined) {
      this.refuse(new BerthError('thread_unknown', { params: { id } }));
    } else if (session.userPool.pool.key.user !== this.userPool.pool.key.user) {
      this.refuse(new BerthError('thread_not_owned', { params: { id } }));
    } else if (session === this) {
      if (isQueryOnly) this.refuse(new BerthError('query_canceled'));
      else this.close('client_request', new BerthError('query_canceled'));
    } else {
      if (isQueryOnly) session.cancel(() => {});
      // A killed connection just ends.
      else session.close('killed');
      this.deliver(okPacket(FIRST, this.capabilities, { status: this.own.status }));
    }
  }

  // --- Borrowing

  private attach(connection: DatabaseConnection): void {
    this.relay.connection = connection;
    connection.lentTo(this);
    this.endpoint.counters.borrows++;
    const { statements } = connection;
    if (statements.hasCloses) this.relay.prepend(statements.takeCloses());
    this.replay(connection, this.own.replaysFor(connection));
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
    if (this.stream.isCongested) this.congested();
  }

  deliverChunk(bytes: Buffer): void {
    this.stream.give(bytes);
    if (this.stream.isCongested) this.congested();
  }

  private congested(): void {
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
    if (this.isWaitingForAnswer && this.unproven === undefined) this.goOn();
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
    if (!isFirst) return;
    this.failures++;
    if (this.connection?.ledger.isQuiet !== true) return;
    // It was the last request, and it has done nothing.
    this.effects = this.effectsBefore;
    this.suspect = this.suspectBefore;
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
    for (const name of this.unproven) this.userPool.prove(name);
    this.unproven = undefined;
  }

  wasReset(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.own.reset(this.userPool.base);
    this.effects = 0;
    this.suspect = undefined;
    this.hasExcludedSet = false;
    // The InitQuery's settings went with it, and come back when the proxy resets it in turn.
    connection.isDirty = true;
    if (!this.endpoint.limits.isSessionMode) this.pins.clear(connection);
  }

  connectionDrained(): void {
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  connectionLost(lastWord: Uint8Array | undefined): void {
    const isMidAnswer = this.connection?.isMidAnswer === true;
    this.relay.detach();
    const options = lastWord === undefined ? {} : { databaseMessage: lastWord };
    const error = new BerthError('connection_lost', options);
    this.close('database_lost', isMidAnswer ? undefined : error);
  }

  // --- What the session leaves on its connection

  private pin(reason: PinReason, text: string): void {
    const { connection } = this;
    if (connection !== undefined) this.pins.add(connection, reason, text);
  }

  /**
   * Some variables have been set that the server did not report: asks for what they are. The session keeps
   * its connection until then, whatever the client does meanwhile.
   */
  private askVariables(connection: DatabaseConnection, names: readonly string[]): void {
    this.isAsking = true;
    const statement = new OwnStatement((outcome) => {
      this.isAsking = false;
      if (!outcome.isOk) {
        // Without a word of the database the connection is gone.
        if (outcome.payload !== undefined) this.pin('set', '');
        return;
      }
      const [row = []] = outcome.rows;
      connection.state.learn(names.map((name, at) => [name, row[at] ?? '']));
    });
    connection.run(`SELECT ${names.map((name) => `@@SESSION.${name}`).join(',')}`, statement);
  }

  /** The statement that is to blame, without its literals. */
  private get suspectDigest(): string {
    return this.suspect === undefined ? '' : digest(this.suspect, this.own.syntax);
  }

  /** Everything is answered and no transaction is open: does anything tie the session to its connection? */
  private investigate(connection: DatabaseConnection): void {
    const { failures, requests, suspect } = this;
    const { state } = connection;
    this.letSetsPass(connection);
    // The server tells when tables that were locked are not any more.
    const effects = state.wasLocked ? this.effects & ~Effect.tableLock : this.effects;
    if (state.wasLocked) this.pins.remove(connection, 'table_lock');
    this.effects = 0;
    this.requests = 0;
    this.failures = 0;
    if (effects === 0 && !state.isSuspect) {
      this.suspect = undefined;
      state.wasLocked = false;
      return;
    }
    // What failed before it did anything has left nothing.
    const isGroundless = requests === failures;
    const reason = isGroundless ? undefined : pinReasonOf(effects & ~TOLD_BY_SERVER);
    const isClearing = requests === 1 && effects === Effect.mayClear;
    const text = this.suspectDigest;
    this.suspect = undefined;
    const cleared =
      requests === 1 && failures === 0 && suspect !== undefined && suspect.length < TEXT_MAX
        ? clearedBy(suspect.toString('latin1'))
        : undefined;
    if (cleared !== undefined) this.pins.remove(connection, cleared);
    else if (reason !== undefined) this.pin(reason, text);
    const isRoleSet = !isGroundless && (effects & Effect.role) !== 0;
    if (isRoleSet || state.strayVariable !== undefined || state.areTrackersChanged) {
      this.pin('set', text);
    }
    // There was nothing of this session's that it could have taken away.
    if (state.isOtherwiseChanged && !this.isPinned && !isClearing) this.pin('unknown', text);
    state.investigated();
  }

  /**
   * EXCLUDE_VARIABLE_SETS: what a SET has left, and cannot be carried to another connection, ties nobody
   * to this one; it goes with a reset. What a routine has done besides is not known to be a SET.
   */
  private letSetsPass(connection: DatabaseConnection): void {
    if (!this.endpoint.limits.areVariableSetsExcluded) return;
    const { state } = connection;
    if (state.strayVariable !== undefined) connection.isDirty = true;
    state.strayVariable = undefined;
    if (this.hasExcludedSet && (this.effects & Effect.call) === 0) state.isOtherwiseChanged = false;
    this.hasExcludedSet = false;
  }

  private giveBackIfSettled(): void {
    const { connection } = this;
    if (connection === undefined || !connection.ledger.isQuiet || this.relay.isMidCommand) return;
    if (this.unproven !== undefined || this.isAsking) return;
    if (this.relay.statements.isPreparing) return;
    const { state } = connection;
    if (this.isWorthKeeping(connection)) {
      this.keep(connection);
      return;
    }
    if (connection.ledger.isStatusUnsure) {
      connection.askStatus();
      return;
    }
    if (state.unsure !== undefined) {
      const names = [...state.unsure];
      state.unsure = undefined;
      this.askVariables(connection, names);
      return;
    }
    this.undoSetStatement(connection);
    this.own.adopt(connection);
    if (state.isLocked) this.pin('table_lock', this.suspectDigest);
    if (!connection.isSettled) return;
    this.requestedAt = 0;
    if (this.relay.statements.areTied) return;
    this.investigate(connection);
    if (this.isPinned) {
      if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
      return;
    }
    if (connection.ledger.hasInsertId) {
      this.askInsertId(connection);
      return;
    }
    this.giveBack(connection);
    this.usePool(this.own.schema !== '');
    if (this.isDraining) this.close('shutdown', new BerthError('shutting_down'));
  }

  // --- What a statement leaves for the next one

  /**
   * The next statement may ask for the warnings, the error or the number of rows of the last one, which are
   * nowhere but on this connection; or for its insert id, which can be asked for now.
   */
  private isWorthKeeping({ ledger }: DatabaseConnection): boolean {
    if (this.requests === 0 || this.isGivingUp || this.isPinned || this.isDraining) return false;
    if (ledger.isInTransaction && !ledger.isStatusUnsure) return false;
    if ((this.effects & (Effect.leavesFoundRows | Effect.leavesInsertId)) !== 0) {
      if ((this.effects & Effect.leavesInsertId) !== 0) ledger.hasInsertId = true;
      return true;
    }
    // Who has looked at the warnings may look again: to show them leaves them as they are.
    if ((this.effects & Effect.readsDiagnostics) !== 0) return true;
    return ledger.warnings > 0 || ledger.hasInsertId;
  }

  private keep(connection: DatabaseConnection): void {
    const { endpoint, userPool } = this;
    const { wheel } = endpoint;
    if (this.keptUntil > 0) return;
    // What can be asked for needs no connection that somebody else waits for.
    const isRecoverable = connection.ledger.warnings === 0 && (this.effects & ONLY_THERE) === 0;
    if (isRecoverable) {
      if (userPool.pool.waiting > 0) {
        this.giveUp();
        return;
      }
      userPool.pool.keep(this);
    }
    endpoint.counters.diagnosticsKept++;
    this.keptUntil = wheel.now + DIAGNOSTICS_KEPT_MS;
    this.clock.lookIn(DIAGNOSTICS_KEPT_MS);
  }

  private unkeep(): void {
    this.keptUntil = 0;
    this.userPool.pool.unkeep(this);
  }

  recalled(): void {
    this.giveUp();
  }

  private giveUp(): void {
    this.unkeep();
    this.isGivingUp = true;
    this.giveBackIfSettled();
  }

  /** Which LAST_INSERT_ID() the session takes along; its OK packet does not tell, if the id was given. */
  private askInsertId(connection: DatabaseConnection): void {
    this.isAsking = true;
    connection.ledger.hasInsertId = false;
    connection.insertId = undefined;
    const statement = new OwnStatement((outcome) => {
      this.isAsking = false;
      if (!outcome.isOk) {
        if (outcome.payload !== undefined) this.pin('unknown', '');
        return;
      }
      this.own.insertId = outcome.rows[0]?.[0] ?? '0';
      connection.insertId = this.own.insertId;
    });
    connection.run('SELECT LAST_INSERT_ID()', statement);
  }

  /** MariaDB reports what SET STATEMENT ... FOR has set, although it is gone with that statement. */
  private undoSetStatement({ state }: DatabaseConnection): void {
    if ((this.effects & Effect.setStatement) === 0) return;
    if (this.requests === 1) state.settings = this.own.settings;
    else state.strayVariable = 'set statement';
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
    this.former = connection;
    this.formerLoan = connection.loans;
    this.isGivingUp = false;
    if (this.keptUntil > 0) this.unkeep();
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
    if (this.keptUntil > 0 && this.endpoint.wheel.now >= this.keptUntil) {
      this.giveUp();
      if (this.isClosed) return;
    }
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
    return this.held !== undefined || this.requestedAt > 0;
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
    if ((this.effects & PINNING) !== 0 || ledger.isStatusUnsure || connection.state.isSuspect)
      connection.isDirty = true;
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
