/**
 * A client after its login: borrows a database connection with the first command that needs one, and
 * gives it back when the ledger says that nothing is owed, the status flags that no transaction is open,
 * and nothing pins. What the client sends goes through its relay; here is when it may, for how long, and
 * how it ends. What the session is, apart from its connection, is in its `SessionState`.
 */

import { BerthError } from '../../base/errors.ts';
import type { ClientCloseReason, Interruption, PinReason } from '../../observe/reasons.ts';
import { digest } from '../../sql/mysql/digest.ts';
import { Effect, type EffectSet } from '../../sql/mysql/effects.ts';
import { PlainTexts } from '../../sql/mysql/plain-texts.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import {
  BorrowingSession,
  type BorrowingSessionOptions,
  CONNECTIONS_LOST_MAX,
} from '../borrowing-session.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { type Kill, kill, killIn } from './kills.ts';
import { Leftovers, type LeftoversHost } from './leftovers.ts';
import { PreviousStatement, type PreviousStatementHost } from './previous-statement.ts';
import { Relay, type RelayHost } from './relay.ts';
import { isRollback } from './rollback.ts';
import type { Session } from './session.ts';
import { type InitialState, type Replay, SessionState } from './session-state.ts';
import { CurrentReading, type Reading } from './statement/reading.ts';
import type { StatementRegistry } from './statement/registry.ts';
import type { Tracking } from './tracking.ts';
import type { NewUser, UserChange } from './user-change.ts';
import type { UserPool } from './user-pool.ts';
import {
  CLIENT_DEPRECATE_EOF,
  COM_STMT_SEND_LONG_DATA,
  EOF_HEADER,
  has,
} from './wire/capabilities.ts';
import { readChangeUser } from './wire/handshake.ts';
import { HEADER_BYTES, payloadLengthAt } from './wire/packets.ts';
import { eofPacket, errorPacket, okPacket } from './wire/replies.ts';

/** One for the process: what a text does is the same for all. */
const PLAIN_TEXTS = new PlainTexts();
/** The sequence number of what a client is told first in answer to a command. */
const FIRST = 1;

export interface SessionOptions extends BorrowingSessionOptions<EndpointContext> {
  readonly threadId: number;
  readonly userPool: UserPool;
  /** What the client and the proxy agreed on. */
  readonly capabilities: number;
  readonly mariadbCapabilities: number;
  /** The number of the collation in the client's greeting. */
  readonly collation: number;
  readonly state: InitialState;
  readonly applicationName: string;
}

export class ClientSession
  extends BorrowingSession<DatabaseConnection, EndpointContext>
  implements ConnectionHolder, RelayHost, LeftoversHost, PreviousStatementHost, Session
{
  readonly threadId: number;
  userPool: UserPool;
  readonly capabilities: number;
  readonly mariadbCapabilities: number;
  readonly collation: number;
  protected applicationName: string;
  protected readonly relay: Relay;
  private own: SessionState;
  private readonly leftovers: Leftovers;
  private readonly previous: PreviousStatement;
  private readonly currentReading = new CurrentReading();
  /** COM_CHANGE_USER is under way. */
  private changing: UserChange | undefined = undefined;
  /** Replays of which the database has not told yet whether they went well. */
  private replaysOwed = 0;
  /** Their names, when they are not known to go well and what is held waits for them. */
  private unproven: string[] | undefined = undefined;
  /** Connections in a row that were lost before anything of a request was sent on them. */
  private lost = 0;
  /** What the client is told instead of its next request being run. */
  private errorDue: BerthError | undefined = undefined;

  constructor(options: SessionOptions) {
    super(options);
    this.threadId = options.threadId;
    this.userPool = options.userPool;
    this.capabilities = options.capabilities;
    this.mariadbCapabilities = options.mariadbCapabilities;
    this.collation = options.collation;
    this.own = new SessionState(options.state);
    this.applicationName = options.applicationName;
    this.leftovers = new Leftovers(this, options.endpoint, this.pins);
    this.previous = new PreviousStatement(this, options.endpoint);
    this.relay = new Relay(this, options.stream);
  }

  get tracking(): Tracking {
    return this.own.tracking;
  }

  protected get database(): string {
    return this.own.schema;
  }

  protected processIdOf({ threadId }: DatabaseConnection): number {
    return threadId;
  }

  // --- What the relay says

  violated(error: BerthError): void {
    this.close('protocol_violation', error);
  }

  override requested(): void {
    this.leftovers.requested();
    this.previous.requested();
    super.requested();
  }

  get allowsMultiStatements(): boolean {
    return this.own.allowsMultiStatements;
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

  sending(text: Uint8Array): void {
    this.tellStatement(digest(text, this.own.syntax));
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
    if (this.errorDue !== undefined || this.previous.isInsertIdLost) {
      const error = this.errorFor(rest, effects);
      if (error !== undefined) {
        this.keep(rest);
        this.refuseHeld(error);
        return false;
      }
    }
    return this.borrow(rest, this.previous.formerConnection(effects));
  }

  /** Why the command that `rest` begins with is not run, if something was lost that it builds on. */
  private errorFor(rest: Buffer, effects: EffectSet): BerthError | undefined {
    const { errorDue, previous } = this;
    if (errorDue !== undefined) {
      // What is sent ahead has no answer; what it belongs to has.
      if (rest[HEADER_BYTES] === COM_STMT_SEND_LONG_DATA) return errorDue;
      this.errorDue = undefined;
      return isRollback(rest, this.capabilities) ? undefined : errorDue;
    }
    // Of a text that is not there as a whole it is only assumed.
    const isWhole = HEADER_BYTES + payloadLengthAt(rest, 0) <= rest.length;
    if ((effects & Effect.readsInsertId) === 0 || !isWhole) return undefined;
    previous.isInsertIdLost = false;
    return new BerthError('insert_id_lost');
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
    this.errorDue = undefined;
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
    this.errorDue = undefined;
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
    return killIn(bytes, from, to, this.own.syntax, (id) => this.knows(id));
  }

  kill(what: Kill): boolean {
    const error = kill(this, this.endpoint.sessionFor(what.id), what);
    if (error !== undefined) this.refuse(error);
    else if (what.among !== undefined) return !this.isClosed;
    else if (!this.isClosed) this.pinged();
    return false;
  }

  // --- Borrowing

  protected attach(connection: DatabaseConnection): void {
    this.relay.attach(connection);
    connection.lentTo(this);
    this.endpoint.counters.borrows++;
    const { statements } = connection;
    if (statements.hasCloses) this.relay.prepend(statements.takeCloses());
    const replays = this.own.replaysFor(connection);
    const ofInsertId = this.previous.replayAtFirst(connection);
    // Together: what is waited for goes out at once, and takes along only what is there by then.
    this.replay(connection, ofInsertId === undefined ? replays : [...(replays ?? []), ofInsertId]);
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

  /** The protocol knows no notices; that the client is still there, its socket tells. */
  stillWaiting(): void {}

  /** Answers the command that waits with `error`; what comes after it goes on. */
  protected refuseHeld(error: BerthError): void {
    this.requestedAt = 0;
    if (this.held?.[0]?.[HEADER_BYTES] !== COM_STMT_SEND_LONG_DATA) this.refuse(error);
    const [first, ...others] = this.held ?? [];
    if (first === undefined) return;
    const rest = this.relay.dropCommand(first);
    this.held = rest.length > 0 ? [rest, ...others] : others;
    this.processHeld();
  }

  // --- What the database connection says

  answered(): void {
    const { connection } = this;
    if (connection === undefined) return;
    this.replied();
    if (!connection.ledger.isOwnFirst) this.cancelBehind(connection);
    if (connection.ledger.isEmpty) this.settled(connection);
    const isUnready = this.unproven !== undefined || this.previous.isAsking;
    if (this.isWaitingForAnswer && !isUnready) this.goOn();
  }

  private goOn(): void {
    this.isWaitingForAnswer = false;
    this.processHeld();
  }

  /** Everything has been answered. */
  private settled(connection: DatabaseConnection): void {
    this.clock.active();
    this.lost = 0;
    this.measure(connection);
    this.leftovers.answered(connection, this.own.settings);
    // Also when the connection is kept: what comes next is read as the session is now.
    this.own.adopt(connection);
    this.giveBackIfSettled();
  }

  protected override measure(connection: DatabaseConnection): void {
    if (this.unproven !== undefined || this.relay.statements.isPreparing) return;
    super.measure(connection);
  }

  requestFailed(isFirst: boolean): void {
    if (isFirst) this.leftovers.requestFailed(this.connection?.ledger.isQuiet === true);
  }

  runAgain(): boolean {
    const { connection, relay } = this;
    if (connection === undefined || this.held !== undefined || relay.isCut) return false;
    const request = relay.statements.takeFresh(connection);
    if (request === undefined) return false;
    this.received(request);
    return true;
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

  // --- When the connection is lost

  connectionLost(lastWord: Uint8Array | undefined): void {
    const { connection } = this;
    if (connection === undefined) return;
    const isNothingSent = this.isNothingSent(connection);
    if (isNothingSent && ++this.lost < CONNECTIONS_LOST_MAX) {
      this.sendAgain(connection);
    } else if (this.leftovers.isEnding && lastWord === undefined) {
      this.relay.detach();
      this.close('client_request');
    } else if (this.goesOnWithout(connection)) {
      this.tellLost(connection, isNothingSent);
    } else {
      const { isMidAnswer } = connection;
      this.relay.detach();
      const options = lastWord === undefined ? {} : { databaseMessage: lastWord };
      const error = new BerthError('connection_lost', options);
      this.close('database_lost', isMidAnswer ? undefined : error);
    }
  }

  /** The connection has seen nothing of what the client waits for. */
  private isNothingSent(connection: DatabaseConnection): boolean {
    const { isFaulty, isInTransaction, ledger } = connection;
    const { leftovers, relay } = this;
    if (isFaulty || this.isPinned || isInTransaction || relay.statements.hasTies) return false;
    if (relay.isUnsent) return true;
    if (leftovers.requests > 0 || ledger.clientsOwed > 0 || relay.isMidRequest) return false;
    return !leftovers.areLostWith(connection);
  }

  private sendAgain(connection: DatabaseConnection): void {
    const again = this.relay.isUnsent ? this.relay.takeUnsent() : undefined;
    const isNeeded = again !== undefined || (this.held?.length ?? 0) > 0;
    this.withoutConnection(connection, isNeeded ? 'sent_again' : 'unnoticed');
    if (again !== undefined) this.held = [again, ...(this.held ?? [])];
    this.processHeld();
  }

  /** Nothing that the client relies on has ended with the connection, and it can be told of what has. */
  private goesOnWithout(connection: DatabaseConnection): boolean {
    const { isFaulty, ledger, mayFailHere } = connection;
    if (isFaulty || !mayFailHere || ledger.isReadingFile || this.isDraining) return false;
    return !this.relay.statements.hasTies && !this.leftovers.areLostWith(connection);
  }

  /**
   * Answers everything that is under way with an error. A transaction is over, as after a deadlock: the
   * client is told at once or, if it waits for nothing, when it asks next. `isGivenUp`: what waits is not
   * tried once more.
   */
  private tellLost(connection: DatabaseConnection, isGivenUp: boolean): void {
    const { isInTransaction, ledger, nextSequence } = connection;
    const owed = ledger.clientsOwed;
    const isRolledBack = isInTransaction && (owed === 0 || !this.relay.mayEndTransaction);
    const error = new BerthError(isRolledBack ? 'transaction_lost' : 'request_lost');
    const isTold = owed > 0 || isGivenUp;
    if (!isTold && !isInTransaction) this.withoutConnection(connection, 'unnoticed');
    else this.withoutConnection(connection, isRolledBack ? 'transaction_lost' : 'request_lost');
    if (owed === 0 && (isInTransaction || isGivenUp)) this.errorDue = error;
    for (let told = 0; told < owed; told++) {
      this.deliver(errorPacket(told === 0 ? nextSequence : FIRST, error));
    }
    this.processHeld();
  }

  private withoutConnection(connection: DatabaseConnection, reason: Interruption): void {
    connection.statements.connectionLost();
    this.relay.statements.connectionLost();
    this.leftovers.forget();
    this.previous.connectionLost(connection);
    this.own.transactionEnded();
    this.interrupted(connection, reason);
    this.usePool(this.own.schema !== '');
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
    if (connection === undefined || !connection.ledger.isQuiet || this.relay.isMidRequest) return;
    if (this.unproven !== undefined || leftovers.isAsking || previous.isAsking) return;
    if (this.relay.statements.isPreparing) return;
    const mayKeep = leftovers.requests > 0 && !this.isPinned && !this.isDraining;
    if (mayKeep && previous.keep(connection, leftovers.effects)) return;
    if (connection.ledger.isStatusUnsure) {
      connection.askStatus();
      return;
    }
    if (leftovers.askVariables(connection)) return;
    this.own.adopt(connection);
    if (connection.state.isLocked) this.pin('table_lock', leftovers.suspectDigest);
    if (!connection.isSettled) return;
    this.requestedAt = 0;
    if (this.relay.statements.areTied || leftovers.askLocks(connection)) return;
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

  protected override giveBack(connection: DatabaseConnection): void {
    if (connection.hasStraySchema) connection.unfitBy = 'state_left';
    // The server would close it as it rests in the pool, maybe when it has just been lent to somebody.
    if (this.own.isImpatient) connection.isDirty = true;
    super.giveBack(connection);
  }

  protected override detach(connection: DatabaseConnection): void {
    this.previous.detached(connection);
    this.replaysOwed = 0;
    this.unproven = undefined;
    super.detach(connection);
  }

  // --- Clocks, end

  protected override get isWaiting(): boolean {
    return super.isWaiting || this.changing !== undefined;
  }

  override lookAtClock(): void {
    this.previous.lookAtClock();
    super.lookAtClock();
  }

  protected isUpToClient({ ledger }: DatabaseConnection): boolean {
    return ledger.isReadingFile;
  }

  protected lastWord(error: BerthError): Uint8Array | undefined {
    if (this.connection?.isMidAnswer === true) return undefined;
    // What is said when the client waits for no answer begins a sequence of its own.
    const isAsked = (this.held !== undefined && this.held.length > 0) || this.requestedAt > 0;
    return errorPacket(isAsked ? FIRST : 0, error);
  }

  protected ending(): void {
    this.changing?.stop();
  }

  protected tellClosed(reason: ClientCloseReason): void {
    this.endpoint.sessionClosed(this, reason);
  }

  protected leaveBehind(connection: DatabaseConnection): void {
    const { ledger } = connection;
    if (this.leftovers.mayBeThere(connection)) connection.isDirty = true;
    // An open cursor, or values that were sent ahead: nobody knows of them any more.
    if (this.relay.statements.areTied) connection.isDirty = true;
    if (ledger.isReadingFile) connection.unfitBy ??= 'client_gone_in_request';
  }
}
