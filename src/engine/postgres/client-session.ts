/**
 * A client after its login: borrows a database connection with the first message that needs one, and
 * gives it back when the ledger says that nothing is owed, the transaction is over and nothing pins.
 * What the client sends goes through its relay; here is when it may, for how long, and how it ends.
 */

import { BerthError } from '../../base/errors.ts';
import type { ClientCloseReason, Interruption, PinReason } from '../../observe/reasons.ts';
import { digest } from '../../sql/postgres/digest.ts';
import type { Effects } from '../../sql/postgres/effects.ts';
import { recogniseListen } from '../../sql/postgres/listen-statements.ts';
import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import {
  BorrowingSession,
  type BorrowingSessionOptions,
  CONNECTIONS_LOST_MAX,
} from '../borrowing-session.ts';
import type { ConnectionHolder, DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { ABORTS, OURS, OWES_QUERY } from './ledger.ts';
import { Leftovers, type LeftoversHost } from './leftovers.ts';
import { FAILED_TRANSACTION, lostError, repliesAfterLoss } from './lost-connection.ts';
import { ClientSubscriptions, type SubscriberHost } from './notification/client-subscriptions.ts';
import { MAILBOX_BYTES_MAX } from './notification/mailbox.ts';
import { OwnStatement } from './own-statement.ts';
import type { ReportedParameters } from './parameters.ts';
import { Relay } from './relay.ts';
import type { RelayHost } from './relay-host.ts';
import { processIdOf, type Session } from './session.ts';
import type { SessionSettings } from './settings.ts';
import type { Difference } from './statement/connection-statements.ts';
import type { StatementRegistry } from './statement/registry.ts';
import type { UserPool } from './user-pool.ts';
import { errorResponse, noticeResponse, READY_FAILED, READY_IDLE } from './wire/backend.ts';
import type { BoundParameters } from './wire/bound-parameters.ts';
import { FUNCTION_CALL, QUERY, STATUS_FAILED, STATUS_IDLE, SYNC } from './wire/messages.ts';

export class ClientSession
  extends BorrowingSession<DatabaseConnection, EndpointContext>
  implements ConnectionHolder, RelayHost, Session, SubscriberHost, LeftoversHost
{
  readonly userPool: UserPool;
  readonly cancelKey: string;
  readonly processId: number;
  /** What the client asked for in its start-up packet. */
  private readonly initialSettings: SessionSettings;
  private settings: SessionSettings;
  /** What the client has been told of the database's parameters. */
  private parameters: ReportedParameters;
  protected readonly relay: Relay;
  private readonly leftovers: Leftovers;
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
  /** Connections in a row that were lost before anything of a request was sent on them. */
  private lost = 0;
  /** The transaction was lost with its connection; for the client it is a failed one, which it has to end. */
  private isTransactionLost = false;
  /** What the client is told instead of its next request being run. */
  private errorDue: Uint8Array | undefined = undefined;

  constructor(options: SessionOptions) {
    super(options);
    this.processId = processIdOf(options.id);
    this.userPool = options.userPool;
    this.initialSettings = options.settings;
    this.settings = options.settings;
    this.parameters = options.parameters;
    this.cancelKey = options.cancelKey;
    this.leftovers = new Leftovers(this, this.pins);
    this.relay = new Relay(this, options.stream, options.statements, options.settings.variant);
  }

  protected get database(): string {
    return this.userPool.pool.key.database;
  }

  protected get applicationName(): string {
    return this.parameters.get('application_name') ?? '';
  }

  protected processIdOf({ cancelKey }: DatabaseConnection): number | undefined {
    return cancelKey?.processId;
  }

  protected override relayed(): void {
    const { connection } = this;
    if (connection?.ledger.isDoubtful) this.resolveDoubt(connection);
    this.giveBackIfSettled();
  }

  // --- What the relay says

  violated(what: string): void {
    this.close('protocol_violation', new BerthError('protocol_violation', { params: { what } }));
  }

  override requested(): void {
    const { connection, subscriptions } = this;
    if (connection !== undefined) this.leftovers.requested(connection);
    if (subscriptions !== undefined && connection?.ledger.isEmpty === true) {
      // While a cancel is on its way, the database may not have been asked about the last LISTEN.
      if (connection.cancelsInFlight === 0) subscriptions.notCommittedYet();
    }
    super.requested();
  }

  skipped(): void {
    this.deliver(this.isTransactionLost ? READY_FAILED : READY_IDLE);
  }

  get stringSyntax(): StringSyntax {
    return this.parameters.stringSyntax;
  }

  acquire(rest: Buffer): boolean {
    const { errorDue } = this;
    if (errorDue !== undefined && this.isToBeTold(rest)) {
      this.errorDue = undefined;
      this.keep(rest);
      this.refuseHeldWith(errorDue);
      return false;
    }
    this.errorDue = undefined;
    return this.borrow(rest);
  }

  /** Whether the request that `rest` begins with is not to run, because the transaction was lost. */
  private isToBeTold(rest: Buffer): boolean {
    if (!this.isTransactionLost) return true;
    const verb = this.relay.verbAtHead(rest);
    // Whatever comes of a COMMIT, it ends the transaction.
    if (verb === 'commit') this.isTransactionLost = false;
    // What it asks for has happened.
    return verb !== 'rollback';
  }

  override wait(rest: Buffer): void {
    this.keep(rest);
    this.isWaitingForAnswer = !this.isWaitingForHub;
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
    // A reader refuses LISTEN, and says so itself.
    const isFannedOut = endpoint.limits.hasNotificationFanOut && !endpoint.isReadOnly;
    const statements = isFannedOut ? recogniseListen(text) : undefined;
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

  sending(text: Uint8Array): void {
    this.tellStatement(digest(text));
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

  protected attach(connection: DatabaseConnection): void {
    this.relay.attach(connection);
    connection.lentTo(this);
    connection.subscriptions = this.subscriptions;
    this.endpoint.counters.borrows++;
    if (connection.settings !== this.settings) this.replaySettings(connection);
    else if (connection.parameters !== this.parameters) this.tellParameters(connection);
    if (this.isTransactionLost) this.failTransaction(connection);
    if (this.endpoint.limits.isSessionMode) this.pin('session_mode', EMPTY);
    if (!this.parameters.isTextReadable) this.pin('unknown', EMPTY);
  }

  private replaySettings(connection: DatabaseConnection): void {
    if (!connection.settings.equals(this.settings)) {
      const replay = this.settings.replayFrom(connection.settings, connection.base);
      const isSure = !this.isTransactionLost && this.settings.hasRoleOf(connection.settings);
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

  /** The client goes on in a failed transaction, as after any error; nothing of it is sent before that is so. */
  private failTransaction(connection: DatabaseConnection): void {
    connection.ledger.owe(OWES_QUERY | OURS | ABORTS);
    connection.unnamedStatement = 0;
    connection.stream.write(FAILED_TRANSACTION);
    this.isWaitingForAnswer = true;
    this.isWaitingForRole = true;
  }

  transactionFailed(): void {
    const { connection } = this;
    if (connection?.ledger.status === STATUS_FAILED) {
      this.isTransactionLost = false;
      this.cancelBehind(connection);
    } else {
      const detail = `The failed transaction of session ${this.id} could not be made.`;
      this.close('internal_error', new BerthError('internal', { detail }));
    }
  }

  /** The database's parameters may have changed since the client was told. */
  private tellParameters(connection: DatabaseConnection): void {
    for (const message of connection.parameters.differencesFrom(this.parameters)) {
      this.deliver(message);
    }
    this.parameters = connection.parameters;
  }

  protected override processHeld(): void {
    if (!this.isWaitingForCancel) super.processHeld();
  }

  stillWaiting(waitedMs: number, position: number): void {
    const seconds = Math.round(waitedMs / 1000);
    const text = `Waiting for a database connection for ${seconds} s; ${position} in the queue.`;
    this.stream.write(noticeResponse(text));
  }

  /** Answers the request that waits with `error`; what comes after it goes on as on any server. */
  protected refuseHeld(error: BerthError): void {
    this.refuseHeldWith(errorResponse('ERROR', error));
  }

  private refuseHeldWith(error: Uint8Array): void {
    this.requestedAt = 0;
    this.deliver(error);
    const [first] = this.held ?? [];
    const type = first?.[0];
    if (first === undefined) return;
    if (type === QUERY || type === FUNCTION_CALL || type === SYNC) {
      const rest = this.relay.dropMessage(first);
      this.held?.splice(0, 1, ...(rest.length > 0 ? [rest] : []));
      this.skipped();
    } else {
      this.relay.skip();
    }
    this.processHeld();
  }

  // --- What the database connection says

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

  private goOn(): void {
    this.isWaitingForAnswer = false;
    this.isWaitingForRole = false;
    if (!this.isWaitingForHub) this.processHeld();
  }

  /** Everything has been answered. */
  private settled(connection: DatabaseConnection): void {
    this.clock.active();
    this.lost = 0;
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

  // --- When the connection is lost

  connectionLost(): void {
    const { connection } = this;
    if (connection === undefined) return;
    const isNothingSent = this.isNothingSent(connection);
    if (isNothingSent && ++this.lost < CONNECTIONS_LOST_MAX) {
      this.sendAgain(connection);
    } else if (this.goesOnWithout(connection)) {
      this.tellLost(connection, isNothingSent);
    } else {
      const { isMidMessage, lastWord } = connection;
      const options = lastWord === undefined ? {} : { databaseMessage: lastWord };
      this.relay.detach();
      const error = isMidMessage ? undefined : new BerthError('connection_lost', options);
      this.close('database_lost', error);
    }
  }

  /** The connection has seen nothing of what the client waits for. */
  private isNothingSent(connection: DatabaseConnection): boolean {
    const { isClientsFault, isFaulty, ledger } = connection;
    const { leftovers, relay } = this;
    if (isFaulty || isClientsFault || this.isPinned) return false;
    if (ledger.status !== STATUS_IDLE) return false;
    if (relay.isUnsent) return true;
    if (leftovers.requests > 0 || ledger.owesClient || ledger.isSkipping) return false;
    return !leftovers.areLostWith(connection);
  }

  private sendAgain(connection: DatabaseConnection): void {
    const again = this.relay.isUnsent ? this.relay.takeUnsent() : undefined;
    const isNeeded = again !== undefined || (this.held?.length ?? 0) > 0;
    this.withoutConnection(connection, isNeeded ? 'sent_again' : 'unnoticed');
    if (again !== undefined) this.held = [again, ...(this.held ?? [])];
    this.goOnWithHeld();
  }

  /** Nothing that the client relies on has ended with the connection, and it can be told of what has. */
  private goesOnWithout(connection: DatabaseConnection): boolean {
    if (connection.isFaulty || connection.isClientsFault) return false;
    if (connection.isMidMessage || this.isDraining) return false;
    return !connection.ledger.isDoubtful && !this.leftovers.areLostWith(connection);
  }

  /**
   * Ends everything that is under way with an error, as a server would that lives on. A transaction is a
   * failed one from here on, until the client ends it. `isGivenUp`: what waits is not tried once more.
   */
  private tellLost(connection: DatabaseConnection, isGivenUp: boolean): void {
    const { ledger, lastWord } = connection;
    const { isBatchOpen, status } = ledger;
    const { replies, isSkipping } = ledger.owedAfterLoss();
    const wasOpen = status !== STATUS_IDLE;
    const isUnderWay = replies.length > 0;
    this.isTransactionLost = isUnderWay ? this.relay.isOpenBehindSent(wasOpen) : wasOpen;
    // What has failed already is told as little as on any server.
    const isNews = !isUnderWay && !isSkipping && status !== STATUS_FAILED;
    const isRequestLost = isUnderWay || (isNews && !wasOpen && (isBatchOpen || isGivenUp));
    const error = lostError(isRequestLost ? 'request_lost' : 'transaction_lost', lastWord);
    if (isNews && (isRequestLost || wasOpen)) this.errorDue = error;
    if (isRequestLost) this.withoutConnection(connection, 'request_lost');
    else this.withoutConnection(connection, wasOpen ? 'transaction_lost' : 'unnoticed');
    if (isSkipping) this.relay.skip();
    if (isUnderWay) {
      const isOpen = this.isTransactionLost;
      this.deliver(repliesAfterLoss(replies, error, { wasOpen, isOpen }));
    }
    this.goOnWithHeld();
  }

  private withoutConnection(connection: DatabaseConnection, reason: Interruption): void {
    const { clientChanges, isParseLost } = connection.ledger.owedAfterLoss();
    this.relay.names.lost(clientChanges);
    // What is sent again says anew what it is.
    if (isParseLost && reason !== 'sent_again') this.relay.unnamedLost();
    this.leftovers.forget();
    this.subscriptions?.connectionLost();
    this.isWaitingForRole = false;
    this.isWaitingForCancel = false;
    this.interrupted(connection, reason);
  }

  private goOnWithHeld(): void {
    // Otherwise what it waits for comes yet.
    if (!this.isWaitingForHub && !this.isCatchingUp) this.processHeld();
  }

  protected giveBackIfSettled(): void {
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
    if (this.settings.isHarsh) connection.isDirty = true;
    this.giveBack(connection);
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

  protected override detach(connection: DatabaseConnection): void {
    this.subscriptions?.authorEnded();
    super.detach(connection);
  }

  // --- Clocks, end

  protected override get isWaiting(): boolean {
    return super.isWaiting || this.isWaitingForHub;
  }

  cancelEnded(): void {
    if (this.connection?.cancelsInFlight !== 0) return;
    this.giveBackIfSettled();
    if (!this.isWaitingForCancel) return;
    this.isWaitingForCancel = false;
    if (!this.isWaitingForAnswer && !this.isWaitingForHub) this.processHeld();
  }

  override drained(): void {
    super.drained();
    this.mailArrived();
  }

  protected isUpToClient({ ledger }: DatabaseConnection): boolean {
    return ledger.isCopyIn;
  }

  protected lastWord(error: BerthError): Uint8Array | undefined {
    return this.connection?.isMidMessage === true ? undefined : errorResponse('FATAL', error);
  }

  protected ending(): void {
    this.subscriptions?.end();
  }

  protected tellClosed(reason: ClientCloseReason): void {
    this.endpoint.sessionClosed(this, reason);
  }

  protected leaveBehind(connection: DatabaseConnection): void {
    if (this.settings.isHarsh) connection.isDirty = true;
    if (this.leftovers.surviveDiscard) connection.unfitBy = 'state_left';
    if (connection.ledger.isDoubtful) connection.unfitBy ??= 'client_gone_in_request';
  }
}

const EMPTY = Buffer.alloc(0);

export interface SessionOptions extends BorrowingSessionOptions<EndpointContext> {
  readonly userPool: UserPool;
  readonly settings: SessionSettings;
  /** Shared by all sessions of the proxy. */
  readonly statements: StatementRegistry;
  readonly parameters: ReportedParameters;
  readonly cancelKey: string;
}
