/**
 * A connection to a database after its login: reads what the database sends, keeps the reply ledger,
 * and passes on to the session that borrowed it what belongs to that session. It decides when the
 * session may go (`ReplyLedger.isSettled`), never where the connection goes then: that is the pool's.
 *
 * Packets are forwarded by reference, as one run of bytes per chunk. Only packets that decide something
 * are held back until they are whole; rows of any size stream through. What a client did not ask for at
 * its login, and the proxy did, is taken out on the way (`ClientView`).
 */

import { HOLD_PEER_CONGESTED, type Stream } from '../../net/stream.ts';
import type { Pool } from '../../pool/pool.ts';
import type { ResetOptions } from '../connection-reset.ts';
import { TargetConnection } from '../target-connection.ts';
import { type ClientTraits, ClientView } from './client-view.ts';
import { afterServerForgets } from './forgetting.ts';
import {
  CONTENT,
  ERROR,
  FRESH,
  KIND,
  LedgerViolation,
  NOTED,
  OK,
  OURS,
  OWES_OK,
  OWES_RESULT,
  OWES_ROWS,
  OWES_STATEMENT,
  PREPARED,
  REPLAYS,
  RESETS,
  ReplyLedger,
  ROWS_END,
  SWITCHES,
} from './ledger.ts';
import { hasSchema } from './login/negotiation.ts';
import type { ServerFacts } from './login/server-facts.ts';
import { type Outcome, OwnStatement } from './own-statement.ts';
import { Reset } from './reset.ts';
import { SessionSettings } from './settings.ts';
import { StateChanges } from './state-changes.ts';
import { cursorNotOpen } from './statement/answers.ts';
import { ConnectionStatements } from './statement/connection-statements.ts';
import type { TargetContext } from './target-context.ts';
import {
  CLIENT_DEPRECATE_EOF,
  COM_PING,
  ERR_HEADER,
  has,
  SERVER_SESSION_STATE_CHANGED,
} from './wire/capabilities.ts';
import { QUIT_MESSAGE, queryMessage } from './wire/commands.ts';
import { HEADER_BYTES, PAYLOAD_MAX, packet, payloadLengthAt, sequenceAt } from './wire/packets.ts';
import { errnoAt, errorPacket, okStateAt } from './wire/replies.ts';
import { parametersAt, statementIdAt, writeStatementId } from './wire/statement-commands.ts';

const ER_STMT_HAS_NO_OPEN_CURSOR = 1421;
const ER_MAX_PREPARED_STMT_COUNT = 1461;
const ER_NEED_REPREPARE = 1615;
const PING_MESSAGE = packet(0, Buffer.of(COM_PING));

/** The session that holds a connection, as the connection sees it. */
/** ER_OPTION_PREVENTS_STATEMENT and ER_READ_ONLY_MODE: what a writer says that is none any more. */
const READ_ONLY_ERRORS: ReadonlySet<number> = new Set([1290, 1836]);

export interface ConnectionHolder extends ClientTraits {
  /** Bytes for the client, valid for as long as they are needed. */
  deliver(bytes: Uint8Array): void;
  /** The same, and the buffer that they are in is the holder's alone. */
  deliverChunk(bytes: Buffer): void;
  /** The last packet of an answer went by; the connection may be given back if it is settled. */
  answered(): void;
  /** Packets came, none of them the last of an answer of the client's. */
  replied(): void;
  /** A statement of the client's failed. `isFirst`: nothing of its answer came before. */
  requestFailed(isFirst: boolean): void;
  /** Something that the proxy ran to make the connection the session's has ended. */
  replayed(error: Uint8Array | undefined): void;
  /** The last request has to be made again, from the beginning. Returns whether that can be done. */
  runAgain(): boolean;
  /** The client's COM_RESET_CONNECTION went well. */
  wasReset(): void;
  /** The database takes bytes again. */
  connectionCongested(): void;
  connectionDrained(): void;
  /** The connection is gone. `lastWord` is the error that the database said before, if it did. */
  connectionLost(lastWord: Uint8Array | undefined): void;
}

/** What its login and its pool say of a connection. */
export interface ConnectionFacts {
  /** The database's number for it, for KILL. */
  readonly threadId: number;
  readonly capabilities: number;
  readonly server: ServerFacts;
  readonly initQuery: string | undefined;
}

export class DatabaseConnection extends TargetConnection {
  readonly ledger: ReplyLedger;
  readonly target: TargetContext;
  readonly pool: Pool<DatabaseConnection>;
  readonly threadId: number;
  readonly capabilities: number;
  readonly server: ServerFacts;
  /** Has been run on it, and is run again after a reset. */
  readonly initQuery: string | undefined;
  /** What the server's trackers have told, and the proxy has set. */
  readonly state = new StateChanges();
  /** What it has prepared. */
  readonly statements = new ConnectionStatements();
  holder: ConnectionHolder | undefined = undefined;
  /** COM_SET_OPTION: several statements in one text are allowed. */
  allowsMultiStatements = true;
  /** What the InitQuery has set: the settings of a clean connection. */
  base = SessionSettings.NONE;
  /** What LAST_INSERT_ID() is here; `undefined` when nobody knows. */
  insertId: string | undefined = '0';
  /** How often it was lent. */
  loans = 0;
  /** A session has left something that goes with a reset. */
  isDirty = false;
  private readonly view = new ClientView();
  /** Hears what comes of the statement of the proxy's own that runs. */
  private own: OwnStatement | undefined = undefined;
  /** What is still to come of a packet that streams through, and whether it is ours. */
  private bodyLeft = 0;
  private isBodyOurs = false;
  /** The packet was as long as one can be; so the next one goes on with it. */
  private isContinued = false;
  /** What the proxy's own statement tells is news: of the InitQuery, or of what a session's has left. */
  private isLearning = false;
  private replayError: Uint8Array | undefined = undefined;
  /** The number of the last packet of the answer that the client is getting. */
  private sequence = 0;
  /** The error that the database sent when nobody had asked it anything. */
  private lastWord: Uint8Array | undefined = undefined;
  private isGone = false;

  constructor(
    stream: Stream,
    target: TargetContext,
    pool: Pool<DatabaseConnection>,
    facts: ConnectionFacts,
  ) {
    super(stream);
    this.target = target;
    this.pool = pool;
    this.threadId = facts.threadId;
    this.capabilities = facts.capabilities;
    this.server = facts.server;
    this.initQuery = facts.initQuery;
    this.ledger = new ReplyLedger(has(facts.capabilities, CLIENT_DEPRECATE_EOF));
  }

  get isAtRest(): boolean {
    return this.isGone || this.ledger.isEmpty;
  }

  get isInTransaction(): boolean {
    return this.ledger.isInTransaction;
  }

  /** Nothing is owed, no transaction is open, no table locked, nothing said for the next transaction. */
  get isSettled(): boolean {
    return this.ledger.isSettled && this.state.isPlain;
  }

  /** It has a schema, and belongs to those that have none: nothing takes it away again. */
  get hasStraySchema(): boolean {
    return this.state.schema !== '' && !hasSchema(this.pool.key.variant);
  }

  /** How many more packets the client has got of this answer than the database has sent. */
  get sequenceShift(): number {
    return this.view.shift;
  }

  /** The holder has the beginning of an answer, so that nothing else may be said to the client. */
  get isMidAnswer(): boolean {
    const { ledger } = this;
    return !ledger.isEmpty && (ledger.head & OURS) === 0 && !ledger.isHeadUntouched;
  }

  /** The client can be told of an error now, in the place of what has not come. */
  get mayFailHere(): boolean {
    const isMidPacket = this.isContinued || (this.bodyLeft > 0 && !this.isBodyOurs);
    return !isMidPacket && !this.view.isEofDue && this.ledger.mayFailHere;
  }

  /** The number of the packet that would go on with the client's answer, or begin it. */
  get nextSequence(): number {
    return (this.sequence + 1) & 0xff;
  }

  // --- What the database sends

  protected read(bytes: Buffer): void {
    const end = bytes.length;
    const { ledger, view } = this;
    let at = 0;
    /** Where the run of bytes begins that goes to the holder. */
    let from = 0;
    if (this.bodyLeft > 0) {
      at = Math.min(this.bodyLeft, end);
      this.bodyLeft -= at;
      if (this.isBodyOurs) from = at;
    }
    let isAnswered = false;
    let { sequence } = this;
    while (end - at >= HEADER_BYTES) {
      const length = payloadLengthAt(bytes, at);
      const payload = at + HEADER_BYTES;
      const next = payload + length;
      let isOurs = this.isBodyOurs;
      if (this.isContinued) {
        this.isContinued = length === PAYLOAD_MAX;
        if (!isOurs && view.shift !== 0) bytes[at + 3] += view.shift;
        if (isOurs) from = view.skip(bytes, from, at, Math.min(next, end));
      } else {
        if (length > 0 && payload === end) break;
        const first = length > 0 ? bytes[payload] : -1;
        const { head } = ledger;
        isOurs = (head & OURS) !== 0;
        if (next > end && (isOurs || ledger.isDeciding(first, length))) break;
        if (head === 0) {
          this.unasked(bytes, payload, next, first);
          if (this.closeReason !== undefined) return;
          from = view.skip(bytes, from, at, next);
          at = next;
          continue;
        }
        const isRow = ledger.isInRows;
        const { depth, isHeadUntouched } = ledger;
        const what = ledger.replied(bytes, payload, length);
        const hasEnded = ledger.depth < depth;
        this.isContinued = length === PAYLOAD_MAX;
        if ((head & KIND) === OWES_STATEMENT && isHeadUntouched) {
          if (this.isPreparedAgain(what, head, bytes, payload)) {
            from = view.skip(bytes, from, at, next);
            at = next;
            continue;
          }
          this.notePrepared(what, bytes, payload, next);
        }
        if ((head & FRESH) !== 0 && isHeadUntouched && this.isRunAgain(what, bytes, payload)) {
          from = view.skip(bytes, from, at, next);
          at = next;
          continue;
        }
        if (isOurs) {
          from = view.skip(bytes, from, at, next);
          if (isRow && what === CONTENT) this.own?.row(bytes.subarray(payload, next));
          else this.noteOurs(what, head, bytes, payload, next);
          if (hasEnded) this.ownEnded(head);
        } else {
          if ((head & NOTED) !== 0 && hasEnded) {
            const own = this.noteEnded(what, head, bytes, at);
            if (own !== undefined) from = view.replace(bytes, from, at, next, own);
          }
          if (view.isNeeded && from !== next)
            from = view.translate(what, ledger, bytes, from, at, Math.min(next, end));
          if (what !== CONTENT) this.noteClients(what, head, isHeadUntouched, bytes, payload, next);
          if (ledger.isFileUnasked) throw new LedgerViolation('a request for a file', head, 0);
          sequence = bytes[at + 3];
          if (hasEnded) {
            sequence = 0;
            view.answerEnded();
          }
          isAnswered ||= hasEnded;
        }
        isAnswered ||= ledger.isEmpty;
      }
      this.isBodyOurs = isOurs;
      if (next > end) {
        this.bodyLeft = next - end;
        at = end;
      } else {
        at = next;
      }
    }
    this.sequence = sequence;
    if (at < end) this.partial = Buffer.from(bytes.subarray(at));
    this.pass(bytes, from, at);
    if (isAnswered) this.holder?.answered();
    else this.holder?.replied();
    this.reset?.progress();
  }

  /** Gives the holder what is for the client, as one piece. */
  private pass(bytes: Buffer, from: number, to: number): void {
    const { holder, view } = this;
    const rewritten = view.take(bytes, from, to);
    if (rewritten !== undefined) {
      holder?.deliver(rewritten);
    } else if (to > from) {
      const isWhole = from === 0 && to === bytes.length;
      holder?.deliverChunk(isWhole ? bytes : bytes.subarray(from, to));
    }
  }

  /** A packet that answers nothing: an error before the database closes the connection. */
  private unasked(bytes: Buffer, payload: number, next: number, first: number): void {
    if (first !== ERR_HEADER) throw new LedgerViolation('a packet without a command', 0, 0);
    this.lastWord = Buffer.from(bytes.subarray(payload, Math.min(next, bytes.length)));
    this.unfitBy = 'database_closed';
    // An idle connection must not be lent between the last word and the FIN.
    if (this.holder === undefined) this.fail('database_closed');
  }

  /** The first packet of the answer to a COM_STMT_PREPARE; the client reads an id of its own in it. */
  private notePrepared(what: number, bytes: Buffer, payload: number, next: number): void {
    const { statements } = this;
    if (what === PREPARED) {
      const id = statementIdAt(bytes, payload);
      writeStatementId(bytes, payload, statements.prepared(id, parametersAt(bytes, payload)));
    } else {
      statements.prepareFailed(bytes.subarray(payload, next));
    }
  }

  /** The server has no room for another statement: gives up some, and tries once more. */
  private isPreparedAgain(what: number, head: number, bytes: Buffer, payload: number): boolean {
    const { ledger, statements } = this;
    if (what !== ERROR || errnoAt(bytes, payload) !== ER_MAX_PREPARED_STMT_COUNT) return false;
    const message = statements.oldestPrepare;
    // What is behind it in a pipeline would be answered before it.
    if (message === undefined || !ledger.isEmpty || !statements.makeRoom()) return false;
    ledger.owe(head);
    this.stream.write(Buffer.concat([statements.takeCloses(), message]));
    return true;
  }

  /** What the proxy has just prepared is not good any more: it prepares it, and the client's request follows. */
  private isRunAgain(what: number, bytes: Buffer, payload: number): boolean {
    if (what !== ERROR || errnoAt(bytes, payload) !== ER_NEED_REPREPARE) return false;
    // What is behind it in a pipeline would be answered before it.
    return this.ledger.isEmpty && this.holder?.runAgain() === true;
  }

  /**
   * The answer about a statement that only this client uses is complete. Returns what the client reads
   * instead: the database's text has its own id.
   */
  private noteEnded(what: number, head: number, bytes: Buffer, at: number): Buffer | undefined {
    const { ledger, statements } = this;
    const id = statements.oldestClientId;
    const isFailed = what === ERROR;
    statements.ended(isFailed, ledger.status);
    const isFetch = (head & KIND) === OWES_ROWS;
    if (!isFailed || !isFetch || errnoAt(bytes, at + HEADER_BYTES) !== ER_STMT_HAS_NO_OPEN_CURSOR) {
      return undefined;
    }
    return errorPacket(sequenceAt(bytes, at), cursorNotOpen(id, this.server.flavour === 'mariadb'));
  }

  /**
   * Of what the proxy has set it knows. But an answer to a question of ours may tell of what a client's
   * failed statement has changed, because errors tell nothing.
   */
  private noteOurs(what: number, head: number, bytes: Buffer, payload: number, next: number): void {
    if ((head & KIND) === OWES_STATEMENT) return;
    if (what === ERROR) {
      const error = bytes.subarray(payload, next);
      if ((head & SWITCHES) !== 0) this.statements.switchFailed(error);
      else if (this.own !== undefined) this.own.failed(error);
      else this.replayError ??= Buffer.from(error);
    } else if (what === OK || what === ROWS_END) {
      const isKnown =
        (head & (REPLAYS | SWITCHES)) !== 0 || (this.holder === undefined && !this.isLearning);
      this.readState(bytes, payload, next, isKnown);
    }
  }

  private noteClients(
    what: number,
    head: number,
    isFirst: boolean,
    bytes: Buffer,
    payload: number,
    next: number,
  ): void {
    switch (what) {
      case OK:
        if ((head & RESETS) !== 0) {
          this.wasReset();
          this.holder?.wasReset();
        }
        this.readState(bytes, payload, next, false);
        return;
      case ROWS_END:
        this.readState(bytes, payload, next, false);
        return;
      case ERROR:
        if (READ_ONLY_ERRORS.has(errnoAt(bytes, payload))) this.target.doubted();
        this.holder?.requestFailed(isFirst);
        return;
      default:
        return;
    }
  }

  private readState(bytes: Buffer, payload: number, next: number, isOurs: boolean): void {
    if ((this.ledger.status & SERVER_SESSION_STATE_CHANGED) === 0) return;
    const at = okStateAt(bytes, payload, next);
    if (at >= 0 && !this.state.read(bytes, at, next, isOurs)) {
      throw new LedgerViolation('a session state that cannot be read', this.ledger.head, 0);
    }
  }

  /** COM_RESET_CONNECTION went well. */
  wasReset(): void {
    this.state.reset();
    this.statements.lose();
    this.insertId = '0';
    this.ledger.hasInsertId = false;
  }

  private ownEnded(head: number): void {
    if ((head & SWITCHES) !== 0 || (head & KIND) === OWES_STATEMENT) return;
    if ((head & REPLAYS) !== 0) {
      const error = this.replayError;
      this.replayError = undefined;
      // What was taken to be done is not: the KILL for a session that has left can hit this instead.
      if (error !== undefined) this.isDirty = true;
      this.holder?.replayed(error);
      return;
    }
    const { own } = this;
    this.own = undefined;
    this.replayError = undefined;
    this.isLearning = false;
    own?.ended();
  }

  closed(): void {
    const { holder, own } = this;
    this.isGone = true;
    this.holder = undefined;
    this.own = undefined;
    own?.lost();
    if (this.leavePool()) holder?.connectionLost(this.lastWord);
  }

  // --- What the session does

  /** The session has it from here on. */
  lentTo(holder: ConnectionHolder): void {
    this.holder = holder;
    this.loans++;
    this.view.begin(holder, this.capabilities);
    this.state.isSchemaTold = false;
    this.ledger.hasInsertId = false;
  }

  /** The session is done with it; `Pool.release` follows. */
  takenBack(): void {
    // Nobody has asked for it, so the next session has to set its own.
    if (this.ledger.hasInsertId) this.insertId = undefined;
    this.holder = undefined;
    this.own = undefined;
    this.replayError = undefined;
    this.stream.letGo(HOLD_PEER_CONGESTED);
  }

  /** The client wants to hear something else of its session. */
  viewChanged(holder: ConnectionHolder): void {
    this.view.begin(holder, this.capabilities);
  }

  /** What the proxy sends before a client's request owes; whoever holds it hears of the end. */
  owesReplay(kind: number): void {
    this.ledger.owe(kind | OURS | REPLAYS);
  }

  // --- What the pool asks

  protected newReset(options: ResetOptions): Reset {
    return new Reset(this, options);
  }

  cancelRunning(): void {
    this.target.canceller.cancel(this);
  }

  protected get goodbye(): Buffer {
    return QUIT_MESSAGE;
  }

  protected override released(): void {
    afterServerForgets(() => super.released());
    if (this.cancelsInFlight > 0) this.target.canceller.withdraw(this);
  }

  /** Runs `sql` as the proxy's own. No other statement of ours may be under way. */
  run(sql: string, statement: OwnStatement): void {
    this.own = statement;
    this.ledger.owe(OWES_RESULT | OURS);
    this.stream.write(queryMessage(sql, this.capabilities));
  }

  /** What the statement of the proxy's own that follows tells is about what a session has left. */
  learn(): void {
    this.isLearning = true;
  }

  /** Sends a command of one byte that is answered with OK, as the proxy's own. */
  command(message: Buffer, statement: OwnStatement): void {
    this.own = statement;
    this.ledger.owe(OWES_OK | OURS);
    this.stream.write(message);
  }

  /** After an error: is a transaction open? The answer's status flags tell. */
  askStatus(): void {
    this.ledger.owe(OWES_OK | OURS);
    this.stream.write(PING_MESSAGE);
  }

  /** Makes a connection that has just logged in what `Reset` would: the trackers, then the InitQuery. */
  setUp(done: (outcome: Outcome) => void): void {
    const { server, target } = this;
    const question = target.baseSettings.questionFor(server.flavour, server.version);
    if (question === undefined) {
      this.runBaseSettings(done);
      return;
    }
    const statement = new OwnStatement((outcome) => {
      const isLost = !outcome.isOk && outcome.payload === undefined;
      if (isLost) {
        done(outcome);
        return;
      }
      target.baseSettings.learn(server.version, outcome.isOk ? outcome.rows : []);
      this.runBaseSettings(done);
    });
    this.run(question, statement);
  }

  private runBaseSettings(done: (outcome: Outcome) => void): void {
    const { initQuery } = this;
    const base = new OwnStatement((outcome) => {
      if (!outcome.isOk || initQuery === undefined) done(outcome);
      else this.runInitQuery(initQuery, done);
    });
    this.run(this.baseSettings, base);
  }

  /** See `BaseSettings`. */
  get baseSettings(): string {
    return this.target.baseSettings.textFor(this.server.version, this.capabilities);
  }

  private runInitQuery(initQuery: string, done: (outcome: Outcome) => void): void {
    this.isLearning = true;
    const statement = new OwnStatement((outcome) => {
      this.base = this.state.settings;
      this.state.reset();
      this.state.settings = this.base;
      done(outcome);
    });
    this.run(initQuery, statement);
  }
}
