/**
 * A connection to a database after its login: reads what the database sends, keeps the reply ledger,
 * and passes on to the session that borrowed it what belongs to that session. It decides when the
 * session may go (`ReplyLedger.isSettled`), never where the connection goes then: that is the pool's.
 *
 * Messages are forwarded by reference, as one run of bytes per chunk. Only messages that decide
 * something are held back until they are whole; rows and COPY data of any size stream through.
 */

import { HOLD_PEER_CONGESTED, type Stream } from '../../net/stream.ts';
import type { Pool } from '../../pool/pool.ts';
import type { ResetOptions } from '../connection-reset.ts';
import { TargetConnection } from '../target-connection.ts';
import type { Cancellable } from './cancel.ts';
import {
  ABORTS,
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  DESCRIBES_STATEMENT,
  INSERTED,
  KIND,
  LedgerViolation,
  OURS,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
  ReplyLedger,
} from './ledger.ts';
import { type ClientSubscriptions, NOTHING } from './notification/client-subscriptions.ts';
import type { OwnStatement } from './own-statement.ts';
import type { ReportedParameters } from './parameters.ts';
import { Reset } from './reset.ts';
import { SessionSettings } from './settings.ts';
import type { ConnectionStatements, Difference } from './statement/connection-statements.ts';
import { NO_ROWS, rowsIn } from './statement/description.ts';
import { StatementReplies } from './statement/statement-replies.ts';
import type { TargetContext } from './target-context.ts';
import { readFields, readParameterStatus } from './wire/backend.ts';
import { queryMessage, TERMINATE_MESSAGE } from './wire/frontend.ts';
import {
  CLOSE_COMPLETE,
  COMMAND_COMPLETE,
  COPY_DATA,
  DATA_ROW,
  ERROR_RESPONSE,
  FUNCTION_CALL_RESPONSE,
  HEADER_BYTES,
  LARGE_MESSAGE_MAX,
  lengthAt,
  message,
  NO_DATA,
  NOTICE_RESPONSE,
  NOTIFICATION_RESPONSE,
  PARAMETER_DESCRIPTION,
  PARAMETER_STATUS,
  PARSE_COMPLETE,
  READY_FOR_QUERY,
  ROW_DESCRIPTION,
  STATUS_IDLE,
  terminatorAt,
} from './wire/messages.ts';

/** A deciding message longer than this is taken for garbage. PostgreSQL's own are far shorter. */
const HELD_MESSAGE_MAX = 16 * 1024 * 1024;

const PARSE_COMPLETE_MESSAGE = message(PARSE_COMPLETE);
const CLOSE_COMPLETE_MESSAGE = message(CLOSE_COMPLETE);

/** The session that holds a connection, as the connection sees it. */
export interface ConnectionHolder {
  /** Bytes for the client, valid for as long as they are needed. */
  deliver(bytes: Uint8Array): void;
  /** The same, and the buffer that they are in is the holder's alone. */
  deliverChunk(bytes: Buffer): void;
  /** The database reported a parameter in a reply that the client sees. */
  parametersReported(parameters: ReportedParameters): void;
  /** A ReadyForQuery of the client's own went by; the connection may be given back if it is settled. */
  answered(): void;
  /** Nothing is owed, or nothing will come before the client goes on; but no ReadyForQuery came. */
  rested(): void;
  /** Replies came, no ReadyForQuery among them, and more are owed. */
  replied(): void;
  /** A replay of the session's settings ended; `error` has the fields of the database's refusal. */
  replayed(error: ReadonlyMap<string, string> | undefined): void;
  /** A request of the client's failed; `fields` are those of the error. */
  requestFailed(fields: ReadonlyMap<string, string>): void;
  /** The reply to the oldest Parse or Close of a named statement came. */
  statementConfirmed(): void;
  /** The oldest `count` of them failed or were skipped. */
  statementsLost(count: number): void;
  /** What one of them is described as is not what it was. */
  statementChanged(difference: Difference): void;
  /** All its statements are gone: DEALLOCATE ALL, DISCARD ALL. */
  statementsCleared(): void;
  /** DISCARD ALL: nothing of the session is left on the connection. */
  discarded(): void;
  /** What the client calls the statement that the connection knows as `serverName`. */
  nameOf(serverName: string): string | undefined;
  /** A Parse did not succeed or was skipped: what the unnamed statement is must be asked again. */
  parseLost(): void;
  /** The database takes bytes again. */
  connectionCongested(): void;
  connectionDrained(): void;
  /** A CancelRequest for the connection has been dealt with; there may be more. */
  cancelEnded(): void;
  /** The failed transaction that the session goes on in has been made, or could not be. */
  transactionFailed(): void;
  /** The connection is gone. */
  connectionLost(): void;
}

/** Who asks for a write at a standby gets it; so does who has asked for a read-only transaction. */
const READ_ONLY_SQL_TRANSACTION = '25006';

/** What its login and its pool say of a connection. */
export interface ConnectionFacts {
  readonly parameters: ReportedParameters;
  readonly cancelKey: Cancellable['cancelKey'];
  readonly initQuery: string | undefined;
}

/** Appendix A of the manual. */
const PROTOCOL_VIOLATION = '08P01';

export class DatabaseConnection extends TargetConnection implements Cancellable {
  readonly ledger = new ReplyLedger();
  readonly target: TargetContext;
  readonly pool: Pool<DatabaseConnection>;
  /** For CancelRequest; `undefined` when the database sent no BackendKeyData. */
  readonly cancelKey: ConnectionFacts['cancelKey'];
  /** Has been run on it, and is run again after DISCARD ALL. */
  readonly initQuery: string | undefined;
  holder: ConnectionHolder | undefined = undefined;
  /** What the holder listens to by way of a hub, if it does. */
  subscriptions: ClientSubscriptions | undefined = undefined;
  /** What the database reports now. */
  parameters: ReportedParameters;
  /** What it reported when nothing of a session's was running: after the login, a replay, a reload. */
  private ownParameters: ReportedParameters;
  /** What the last session's replay left. */
  settings = SessionSettings.NONE;
  /** What is prepared on it by name. */
  readonly statements: ConnectionStatements;
  readonly replies: StatementReplies;
  /** What the InitQuery set: where settings go back to. */
  base = SessionSettings.NONE;
  /** Which Parse is in the unnamed statement: its number, 0 for none, -1 when that is not known. */
  unnamedStatement = 0;
  /** A pinned session used it: whatever it left goes with DISCARD ALL. */
  isDirty = false;
  /** Hears what comes of the statement of the proxy's own that runs. */
  private own: OwnStatement | undefined = undefined;
  /** What is still to come of a message that streams through, and whether it is ours. */
  private bodyLeft = 0;
  private isBodyOurs = false;
  private replayError: ReadonlyMap<string, string> | undefined = undefined;
  /** The last word that the database has said (FATAL), a whole message. It is for the session to tell. */
  lastWord: Buffer | undefined = undefined;
  /** It ended the connection for what the client has sent, and would do so again. */
  isClientsFault = false;

  constructor(
    stream: Stream,
    target: TargetContext,
    pool: Pool<DatabaseConnection>,
    facts: ConnectionFacts,
  ) {
    super(stream);
    this.target = target;
    this.replies = new StatementReplies(target.schema);
    this.statements = this.replies.statements;
    this.pool = pool;
    this.parameters = facts.parameters;
    this.ownParameters = facts.parameters;
    this.cancelKey = facts.cancelKey;
    this.initQuery = facts.initQuery;
  }

  get isAtRest(): boolean {
    return this.ledger.isEmpty;
  }

  get isSettled(): boolean {
    return this.ledger.isSettled;
  }

  get isInTransaction(): boolean {
    return this.ledger.status !== STATUS_IDLE;
  }

  /** A session has changed what the database reports, and it has not gone back. */
  get hasStrayParameters(): boolean {
    return this.parameters !== this.ownParameters;
  }

  /** The holder has the beginning of a message, so nothing else may be said to the client. */
  get isMidMessage(): boolean {
    return this.bodyLeft > 0 && !this.isBodyOurs;
  }

  // --- What the database sends

  protected read(bytes: Buffer): void {
    const end = bytes.length;
    const ledger = this.ledger;
    let at = 0;
    /** Where the run of bytes begins that goes to the holder. */
    let from = 0;
    if (this.bodyLeft > 0) {
      at = Math.min(this.bodyLeft, end);
      this.bodyLeft -= at;
      if (this.isBodyOurs) from = at;
      if (this.bodyLeft === 0 && (ledger.head & INSERTED) !== 0)
        from = this.insert(bytes, from, at);
    }
    let isAnswered = false;
    while (at < end) {
      if (end - at < HEADER_BYTES) break;
      const type = bytes[at];
      const length = lengthAt(bytes, at);
      if (length < 4 || length > LARGE_MESSAGE_MAX) throw new LedgerViolation(type, -1);
      const next = at + 1 + length;
      if (next > end && this.isHeldBack(type, length)) break;
      const head = ledger.head;
      let isOurs = (head & OURS) !== 0 && type !== NOTIFICATION_RESPONSE;
      /** What the holder gets in the message's place. */
      let instead: Uint8Array | undefined;
      if (type === READY_FOR_QUERY) {
        isOurs &&= !ledger.isReadyLate;
        ledger.replied(type, bytes[at + HEADER_BYTES]);
        this.replies.ready(ledger.status);
        if (isOurs) this.ownEnded(head);
        else instead = this.subscriptions?.ready(bytes.subarray(at, next), ledger);
        isAnswered ||= !isOurs || ledger.isEmpty;
      } else if (type !== DATA_ROW || ledger.isEmpty || isOurs) {
        if (isAnswered && type === ERROR_RESPONSE && ledger.isSettled) {
          // Nobody asked for it: the last word, in one chunk with the last answer. Who has got that
          // answer may be done with the connection, and whoever came next would be lost with it.
          this.unfitBy = 'database_closed';
          if (at > from) this.forward(bytes, from, at);
          from = at;
          isAnswered = false;
          this.holder?.answered();
        }
        instead = this.note(type, bytes, at, next, head, isOurs);
      }
      const isSwallowed = isOurs && !this.isForClient(type, head);
      if (isSwallowed || instead !== undefined) {
        if (at > from) this.forward(bytes, from, at);
        from = Math.min(next, end);
        if (!isSwallowed && instead !== undefined && instead.length > 0) {
          this.holder?.deliver(instead);
        }
      }
      if (next > end) {
        this.bodyLeft = next - end;
        this.isBodyOurs = isOurs;
        at = end;
      } else {
        at = next;
        if ((ledger.head & INSERTED) !== 0) from = this.insert(bytes, from, at);
      }
    }
    if (at < end) this.partial = Buffer.from(bytes.subarray(at));
    // The chunk has been looked at to its end, and nothing else of it was forwarded.
    if (at > from) {
      if (from === 0) this.holder?.deliverChunk(at === end ? bytes : bytes.subarray(0, at));
      else this.forward(bytes, from, at);
    }
    if (isAnswered) this.holder?.answered();
    else if (ledger.isEmpty || ledger.isCopyIn) this.holder?.rested();
    else this.holder?.replied();
    this.reset?.progress();
  }

  /** Passes on what is before the place of inserted answers, and then these. Returns where it goes on. */
  private insert(bytes: Buffer, from: number, at: number): number {
    if (at > from) this.forward(bytes, from, at);
    this.tellInserted();
    return at;
  }

  /** Whether a message that is cut must be whole before it is looked at. */
  private isHeldBack(type: number, length: number): boolean {
    if (type === DATA_ROW && (this.ledger.head & OURS) === 0) return false;
    if (type === ROW_DESCRIPTION) {
      if ((this.ledger.head & DESCRIBES_STATEMENT) === 0) return false;
    } else if (type === COPY_DATA || type === FUNCTION_CALL_RESPONSE) {
      return false;
    }
    if (length > HELD_MESSAGE_MAX) throw new LedgerViolation(type, -2);
    return true;
  }

  /**
   * Everything but rows and ReadyForQuery. `head` is that of the ledger before the message. Returns
   * what the holder gets in its place; `undefined` for the message as it is.
   */
  private note(
    type: number,
    bytes: Buffer,
    at: number,
    next: number,
    head: number,
    isOurs: boolean,
  ): Uint8Array | undefined {
    const { ledger } = this;
    switch (type) {
      case PARAMETER_STATUS:
        this.parameterReported(bytes.subarray(at, next), isOurs);
        return undefined;
      case NOTICE_RESPONSE:
        return undefined;
      case NOTIFICATION_RESPONSE:
        return this.isForHolder(bytes, at, next) ? undefined : NOTHING;
      case ERROR_RESPONSE:
        return this.errorReported(bytes.subarray(at, next), head, isOurs);
      case DATA_ROW:
        ledger.replied(type, 0);
        this.own?.row(bytes.subarray(at, next));
        return undefined;
      case PARSE_COMPLETE:
      case CLOSE_COMPLETE:
        ledger.replied(type, 0);
        if ((head & CHANGES_CONNECTION) !== 0) this.statements.confirm();
        if ((head & CHANGES_CLIENT) !== 0) this.holder?.statementConfirmed();
        return undefined;
      case COMMAND_COMPLETE:
        ledger.replied(type, 0);
        if ((head & CHANGES_CONNECTION) !== 0) this.statements.confirm();
        if ((head & CHANGES_CLIENT) !== 0) this.holder?.statementConfirmed();
        this.completed(bytes, at + HEADER_BYTES, next, (head & CHANGES_CONNECTION) !== 0);
        if (!isOurs)
          this.subscriptions?.completed(bytes.toString('latin1', at + HEADER_BYTES, next - 1));
        return undefined;
      case PARAMETER_DESCRIPTION:
        ledger.replied(type, 0);
        if ((head & DESCRIBES_STATEMENT) === 0) return undefined;
        this.replies.parametersDescribed(bytes.subarray(at + HEADER_BYTES, next));
        return undefined;
      case ROW_DESCRIPTION:
      case NO_DATA:
        ledger.replied(type, 0);
        if ((head & DESCRIBES_STATEMENT) === 0) return undefined;
        this.replies.described(
          type === NO_DATA ? NO_ROWS : rowsIn(bytes.subarray(at, next)),
          this.holder,
        );
        return undefined;
      default:
        ledger.replied(type, 0);
        return undefined;
    }
  }

  /**
   * Whether a NotificationResponse is for the session. Only a pinned one listens here; whoever else has
   * the connection for now is told what it wants to hear by a hub, and only by the hub.
   */
  private isForHolder(bytes: Buffer, at: number, next: number): boolean {
    if (this.placement !== 'pinned') return false;
    const nameAt = at + HEADER_BYTES + 4;
    const nameEnd = terminatorAt(bytes, nameAt, next);
    return this.subscriptions?.has(bytes.toString('latin1', nameAt, nameEnd)) !== true;
  }

  /** `isNoted`: what it takes away was noted when it was sent. */
  private completed(bytes: Buffer, from: number, to: number, isNoted: boolean): void {
    if (this.replies.completed(bytes, from, to, isNoted, this.holder)) this.discarded();
  }

  /** All that the session had is gone, and so is what the proxy had set up for it. */
  private discarded(): void {
    this.settings = SessionSettings.NONE;
    this.ownParameters = this.parameters;
    this.holder?.discarded();
  }

  /** Gives the answers whose turn it is to requests that the database never saw. */
  tellInserted(): void {
    const { holder, ledger } = this;
    // The message before is a long one, such as a RowDescription, and not all of it has come.
    if (this.bodyLeft > 0) return;
    for (let entry = ledger.takeInserted(); entry !== 0; entry = ledger.takeInserted()) {
      const isParse = (entry & KIND) === OWES_PARSE;
      holder?.deliver(isParse ? PARSE_COMPLETE_MESSAGE : CLOSE_COMPLETE_MESSAGE);
      if ((entry & CHANGES_CLIENT) !== 0) holder?.statementConfirmed();
    }
  }

  private parameterReported(whole: Uint8Array, isOurs: boolean): void {
    const parameter = readParameterStatus(whole);
    if (parameter === undefined) throw new LedgerViolation(PARAMETER_STATUS, -3);
    this.parameters = this.parameters.with(...parameter);
    if (isOurs || this.ledger.isEmpty) this.ownParameters = this.parameters;
    if (!isOurs) this.holder?.parametersReported(this.parameters);
  }

  /** `head` is that of the ledger before the error. Returns the error in the client's words. */
  private errorReported(whole: Uint8Array, head: number, isOurs: boolean): Uint8Array | undefined {
    const { ledger } = this;
    const fields = readFields(whole);
    const severity = fields.get('V') ?? fields.get('S');
    if (severity === 'FATAL' || severity === 'PANIC') return this.lastWordSaid(whole, fields);
    ledger.replied(ERROR_RESPONSE, 0);
    if ((head & ABORTS) !== 0) return undefined;
    this.subscriptions?.failed();
    if (fields.get('C') === READ_ONLY_SQL_TRANSACTION) this.target.doubted();
    if (ledger.isUnnamedUnknown) {
      ledger.isUnnamedUnknown = false;
      this.unnamedStatement = -1;
      if (ledger.hasLostParse) this.holder?.parseLost();
      ledger.hasLostParse = false;
    }
    const instead = this.replies.failed(fields, head, ledger, this.holder);
    if (instead !== undefined) return instead;
    // What we put into a client's batch fails in the client's name, see `isForClient`.
    if (!isOurs || (head & KIND) !== OWES_QUERY) {
      this.holder?.requestFailed(fields);
      return this.replies.inClientsWords(whole, fields, this.holder);
    }
    if (this.own !== undefined) this.own.failed(Buffer.from(whole), fields);
    else if (this.holder !== undefined) this.replayError = fields;
    return undefined;
  }

  /** What is owed stays owed: the end of the connection follows. */
  private lastWordSaid(whole: Uint8Array, fields: ReadonlyMap<string, string>): Uint8Array {
    this.lastWord = Buffer.from(whole);
    this.isClientsFault = fields.get('C') === PROTOCOL_VIOLATION;
    this.unfitBy = 'database_closed';
    if (this.holder === undefined) {
      this.own?.failed(this.lastWord, fields);
      // An idle connection must not be lent between the last word and the FIN.
      this.fail('database_closed');
    }
    return NOTHING;
  }

  /**
   * An error in place of a reply of ours belongs to the client when it ends the client's batch: what we
   * put in before it failed.
   */
  private isForClient(type: number, head: number): boolean {
    if (type !== ERROR_RESPONSE) return false;
    // A batch of our own, see `NamedStatements.queryExecute`.
    const isOwnBatch = (this.ledger.head & (OURS | KIND)) === (OURS | OWES_SYNC);
    return (head & KIND) !== OWES_QUERY && !isOwnBatch;
  }

  private ownEnded(head: number): void {
    if ((head & ABORTS) !== 0) {
      this.holder?.transactionFailed();
      return;
    }
    const { own, replayError } = this;
    this.own = undefined;
    this.replayError = undefined;
    if (own !== undefined) own.ended();
    else this.holder?.replayed(replayError);
  }

  private forward(bytes: Buffer, from: number, to: number): void {
    this.holder?.deliver(bytes.subarray(from, to));
  }

  closed(): void {
    const { holder, own } = this;
    this.holder = undefined;
    this.own = undefined;
    own?.lost();
    if (this.leavePool()) holder?.connectionLost();
  }

  // --- What the session does

  /** The session has it from here on. */
  lentTo(holder: ConnectionHolder): void {
    this.holder = holder;
  }

  /** The session is done with it; `Pool.release` follows. */
  takenBack(): void {
    this.holder = undefined;
    this.own = undefined;
    this.replayError = undefined;
    this.subscriptions = undefined;
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  // --- What the pool asks

  protected newReset(options: ResetOptions): Reset {
    return new Reset(this, options);
  }

  cancelRunning(): void {
    this.target.canceller.cancel(this);
  }

  protected get goodbye(): Buffer {
    return TERMINATE_MESSAGE;
  }

  override cancelEnded(): void {
    super.cancelEnded();
    this.holder?.cancelEnded();
  }

  /** The session has left `settings` there; what the database reports is part of it. */
  adopt(settings: SessionSettings): void {
    this.settings = settings;
    this.ownParameters = this.parameters;
  }

  /**
   * Runs `sql` as the proxy's own; whoever holds the connection does not see the reply. Nothing else of
   * ours may be owed.
   */
  run(sql: string, statement: OwnStatement): void {
    this.own = statement;
    this.ledger.owe(OWES_QUERY | OURS);
    this.unnamedStatement = 0;
    this.stream.write(queryMessage(sql));
  }
}
