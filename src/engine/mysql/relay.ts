/**
 * From the client to the database: cuts what the client sends into commands, notes in the ledger what
 * each will be answered with, and forwards them, by reference and as one write per chunk. It knows when
 * a connection is needed; where one comes from is the session's business.
 *
 * A command that is not whole yet is kept back, so that a client that vanishes leaves no half request in
 * a database; only what is too large to keep streams through. Commands that concern the proxy's own
 * doing (a ping without a connection, KILL, a change of user) are answered here, and only when everything
 * before them has been answered.
 */

import { BerthError } from '../../base/errors.ts';
import type { Stream } from '../../net/stream.ts';
import { HOLD_LEDGER_FULL } from '../../net/stream.ts';
import { Effect, type EffectSet, PLAIN } from '../../sql/mysql/effects.ts';
import { StatementScanner } from '../../sql/mysql/scanner.ts';
import { staysInTransaction } from '../../sql/mysql/stays-in-transaction.ts';
import type { Syntax } from '../../sql/mysql/syntax.ts';
import { PIPELINE_MAX } from '../borrowing-session.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { type Kill, replaceKill } from './kills.ts';
import { MAY_READ_FILE, OWES_FIELDS, OWES_OK, OWES_RESULT, OWES_TEXT, RESETS } from './ledger.ts';
import { DEALT_WITH, GONE, REPLACED, SENT, WAIT } from './relay-outcome.ts';
import {
  isAboutStatement,
  type StatementHost,
  StatementRelay,
} from './statement/statement-relay.ts';
import {
  COM_CHANGE_USER,
  COM_CREATE_DB,
  COM_DEBUG,
  COM_DROP_DB,
  COM_FIELD_LIST,
  COM_INIT_DB,
  COM_PING,
  COM_PROCESS_INFO,
  COM_PROCESS_KILL,
  COM_QUERY,
  COM_QUIT,
  COM_REFRESH,
  COM_RESET_CONNECTION,
  COM_SET_OPTION,
  COM_SHUTDOWN,
  COM_STATISTICS,
} from './wire/capabilities.ts';
import { queryTextAt } from './wire/commands.ts';
import { HEADER_BYTES, int16At, int32At, PAYLOAD_MAX, payloadLengthAt } from './wire/packets.ts';

/** A command up to this size is kept until it is whole; a larger one streams through. */
export const HELD_COMMAND_MAX = 256 * 1024;
const PIECES_MAX = 64;
const EMPTY = Buffer.alloc(0);

/** The session, as the relay sees it. */
export interface RelayHost extends StatementHost {
  /** A schema is about to be chosen, and that alone; only called without a connection. */
  schemaWanted(): void;
  /** For a command that may do `effects`. Borrows a connection and calls `Relay.attach`; or keeps `rest` for later and returns false. */
  acquire(rest: Buffer, effects: EffectSet): boolean;
  /** Keeps `rest` until the database has answered more. */
  wait(rest: Buffer): void;
  terminated(): void;
  violated(error: BerthError): void;
  /** A command that counts as a request goes out. */
  requested(): void;
  /** How the server reads the session's texts. */
  readonly syntax: Syntax;
  /** A text may be several statements. */
  readonly allowsMultiStatements: boolean;
  /** What a text may do to the session. */
  judge(bytes: Buffer, from: number, to: number): EffectSet;
  /** A text with `effects` is about to be sent. */
  running(effects: EffectSet, bytes: Buffer, from: number, to: number): void;
  // Commands that are answered without the database; nothing else is owed to the client.
  pinged(): void;
  refuse(error: BerthError): void;
  optionSet(allowsMultiStatements: boolean): void;
  resetWithoutConnection(): void;
  /** `payload` is the whole COM_CHANGE_USER, `rest` what came behind it. */
  userChanged(payload: Buffer, rest: Buffer): void;
  /** KILL of the client whose greeting had the number `id`; false when there is none. */
  knows(id: number): boolean;
  /** False when the client has its answer; true when the rest of the text is for the database. */
  kill(kill: Kill): boolean;
  /** What a text kills, if it is one of our clients. */
  killIn(bytes: Buffer, from: number, to: number): Kill | undefined;
}

const MAY_PASS_WITHOUT_CONNECTION: ReadonlySet<number> = new Set([
  COM_PING,
  COM_SET_OPTION,
  COM_RESET_CONNECTION,
]);

/** As `FLUSH` and `CREATE DATABASE` do. */
const MAY_END_TRANSACTION: ReadonlySet<number> = new Set([
  COM_CREATE_DB,
  COM_DROP_DB,
  COM_DEBUG,
  COM_REFRESH,
  COM_SHUTDOWN,
]);

export class Relay {
  connection: DatabaseConnection | undefined = undefined;
  /** The client's prepared statements. */
  readonly statements: StatementRelay;
  private readonly host: RelayHost;
  private readonly stream: Stream;
  /** Pieces of a command that is not whole yet. */
  private pieces: Buffer[] | undefined = undefined;
  private piecesBytes = 0;
  private piecesWanted = 0;
  /** What is still to come of a packet that streams through. */
  bodyLeft = 0;
  /** The packet was as long as one can be; so the next one goes on with it. */
  private isContinued = false;
  /** Reads the text that streams through. */
  private scanner: StatementScanner | undefined = undefined;
  /** What is still to come is not for the database. */
  private isDropping = false;
  /** The client's COM_RESET_CONNECTION was sent; the connection is not to be used behind it. */
  private isResetting = false;
  /** The session has ended; nothing more of it goes anywhere. */
  private isOver = false;
  /**
   * The chunk of the client's that was sent last, its part `[sentFrom, sentTo)`, how many there were on this
   * connection, and what its socket had taken before the first: what to send again when nothing was.
   */
  private sent: Buffer | undefined = undefined;
  private sentFrom = 0;
  private sentTo = 0;
  private chunks = 0;
  private takenBefore = 0;
  /** The text of the last request that was sent in a transaction. */
  private lastText: Buffer | undefined = undefined;
  private lastFrom = 0;
  private lastTo = 0;
  private mayBeSeveral = false;
  /** Another one that is not answered may have ended the transaction. */
  private mayHaveEnded = false;
  /** The chunk that is being looked at, where its commands begin that were not sent yet, and where it is. */
  private chunk: Buffer | undefined = undefined;
  private chunkFrom = 0;
  private chunkAt = 0;
  /** What goes out in the next write, before what the client has sent. */
  private out: Buffer[] = [];

  constructor(host: RelayHost, stream: Stream) {
    this.host = host;
    this.stream = stream;
    this.statements = new StatementRelay(host, this);
  }

  /** A command of which a part has been sent is still to be finished by the client. */
  get isMidRequest(): boolean {
    return this.bodyLeft > 0 || this.isContinued;
  }

  /** The client has sent the beginning of a command that is kept until it is whole. */
  get isCut(): boolean {
    return this.pieces !== undefined || this.isMidRequest;
  }

  end(): void {
    this.isOver = true;
  }

  attach(connection: DatabaseConnection): void {
    this.connection = connection;
    this.chunks = 0;
    this.mayHaveEnded = false;
  }

  detach(): void {
    this.connection = undefined;
    this.sent = undefined;
    this.lastText = undefined;
    if (this.out.length > 0) this.out = [];
  }

  // --- When the connection is lost

  /** The one command that the client has sent has not reached the database, not in part. */
  get isUnsent(): boolean {
    const { chunks, connection, sent, sentFrom, sentTo } = this;
    if (connection === undefined || sent === undefined || chunks !== 1) return false;
    if (connection.stream.takenBytes !== this.takenBefore || this.isMidRequest) return false;
    const length = sentTo - sentFrom;
    return length > HEADER_BYTES && payloadLengthAt(sent, sentFrom) + HEADER_BYTES === length;
  }

  /** What is to be sent again; the relay is as if it had never been. */
  takeUnsent(): Buffer {
    const { pieces, sent, sentFrom, sentTo } = this;
    this.pieces = undefined;
    const whole = this.statements.asWritten(sent?.subarray(sentFrom, sentTo) ?? EMPTY);
    return pieces === undefined ? whole : Buffer.concat([whole, ...pieces]);
  }

  /** A part of `bytes`, from `from`, goes to the connection. */
  private sending(bytes: Buffer, from: number): void {
    this.sent = bytes;
    this.sentFrom = from;
    // What waits for an answer of ours is kept by the session, not here.
    this.sentTo = from;
    if (this.chunks++ === 0) this.takenBefore = this.connection?.stream.takenBytes ?? 0;
  }

  noteEnd(
    connection: DatabaseConnection,
    text: Buffer,
    from: number,
    to: number,
    mayBeSeveral: boolean,
  ): void {
    this.mayHaveEnded = !connection.ledger.isEmpty && this.mayEndTransaction;
    if (connection.isInTransaction) {
      this.lastText = text;
      this.lastFrom = from;
      this.lastTo = to;
      this.mayBeSeveral = mayBeSeveral;
    } else {
      // A text that begins one may end it, too.
      this.mayHaveEnded = true;
    }
  }

  /** One of the requests that are not answered may have ended the transaction. */
  get mayEndTransaction(): boolean {
    const { lastFrom, lastText, lastTo, mayBeSeveral } = this;
    if (this.mayHaveEnded || lastText === undefined) return this.mayHaveEnded;
    return !staysInTransaction(lastText, lastFrom, lastTo, mayBeSeveral);
  }

  /** Puts `message`, which is the proxy's own, before the command that is being looked at. */
  prepend(message: Buffer): void {
    const { chunk, chunkAt, chunkFrom } = this;
    if (chunk !== undefined && chunkAt > chunkFrom) {
      this.flush(chunk, chunkFrom, chunkAt);
      this.chunkFrom = chunkAt;
    }
    this.out.push(message);
  }

  /** Sends what was put before the next request without that request. */
  sendPrepended(): void {
    const { connection, out } = this;
    if (out.length === 0) return;
    this.out = [];
    connection?.stream.write(Buffer.concat(out));
  }

  // --- Commands out of chunks

  take(bytes: Buffer): void {
    if (this.pieces === undefined) this.process(bytes);
    else this.assemble(bytes);
  }

  /** Collects pieces until the command is whole; the header may itself have been cut. */
  private assemble(bytes: Buffer): void {
    const pieces = this.pieces ?? [];
    pieces.push(bytes);
    this.piecesBytes += bytes.length;
    if (this.piecesBytes < this.piecesWanted) {
      // A command that trickles in must not cost an object for each byte.
      if (pieces.length >= PIECES_MAX) this.pieces = [Buffer.concat(pieces)];
      return;
    }
    this.pieces = undefined;
    this.process(Buffer.concat(pieces));
  }

  private keepPiece(bytes: Buffer, at: number, wanted: number): void {
    const piece = Buffer.from(bytes.subarray(at));
    this.pieces = [piece];
    this.piecesBytes = piece.length;
    this.piecesWanted = wanted;
  }

  private process(bytes: Buffer): void {
    const end = bytes.length;
    let at = 0;
    /** Where the run of bytes begins that is forwarded as it is. */
    let from = 0;
    if (this.bodyLeft > 0) {
      at = Math.min(this.bodyLeft, end);
      this.bodyLeft -= at;
      if (this.isDropping) from = at;
      if (this.scanner !== undefined) this.scan(this.scanner, bytes, 0, at);
    } else if (!this.isContinued) {
      this.closeStatements();
    }
    let waitedAt = -1;
    let isNoted = this.connection !== undefined;
    if (isNoted) this.sending(bytes, 0);
    while (at < end) {
      if (end - at < HEADER_BYTES) {
        this.keepPiece(bytes, at, HEADER_BYTES);
        break;
      }
      const length = payloadLengthAt(bytes, at);
      const next = at + HEADER_BYTES + length;
      /** Where the next part of a text begins that streams through. */
      let scanFrom = -1;
      if (this.isContinued || this.connection?.ledger.isReadingFile === true) {
        this.passPacket(bytes, at, length);
        scanFrom = at + HEADER_BYTES;
      } else {
        if (bytes[at + 3] !== 0) {
          this.flush(bytes, from, at);
          this.host.violated(new BerthError('packets_out_of_order'));
          return;
        }
        // Of a large command too the beginning must be there: it says what the command is about.
        const wanted = Math.min(HEADER_BYTES + length, HELD_COMMAND_MAX);
        if (end - at < wanted) {
          this.keepPiece(bytes, at, wanted);
          break;
        }
        this.chunk = bytes;
        this.chunkFrom = from;
        this.chunkAt = at;
        const done = this.command(
          bytes,
          from,
          at,
          Math.min(next, end),
          next <= end && length < PAYLOAD_MAX,
        );
        this.chunk = undefined;
        from = this.chunkFrom;
        if (this.isOver) return;
        if (!isNoted && done !== GONE && this.connection !== undefined) {
          isNoted = true;
          this.sending(bytes, at);
        }
        if (done === WAIT) {
          this.sentTo = at;
          this.flush(bytes, from, at);
          from = at;
          if (waitedAt !== at && this.connection?.ledger.isEmpty === true) {
            // It waited for answers of our own, which have just been given.
            waitedAt = at;
            continue;
          }
          this.host.wait(at === 0 ? bytes : bytes.subarray(at));
          return;
        }
        if (done === GONE) return;
        this.isDropping = done === DEALT_WITH;
        this.isContinued = length === PAYLOAD_MAX;
        if (this.isDropping) {
          this.flush(bytes, from, at);
          from = Math.min(next, end);
        } else if (done === REPLACED) {
          from = Math.min(next, end);
        }
      }
      if (next > end) {
        this.bodyLeft = next - end;
        at = end;
      } else {
        at = next;
      }
      if (scanFrom >= 0 && this.scanner !== undefined) {
        this.scan(this.scanner, bytes, scanFrom, at);
      }
      if (this.isDropping) from = at;
    }
    this.sentTo = at;
    this.flush(bytes, from, at);
  }

  /** What the connection is to forget goes with what is sent next. */
  private closeStatements(): void {
    const { connection } = this;
    if (connection === undefined || !connection.statements.hasCloses) return;
    if (!connection.ledger.isReadingFile) this.out.push(connection.statements.takeCloses());
  }

  /** Reads on in a text that streams through, and judges it when it is over. */
  private scan(scanner: StatementScanner, bytes: Buffer, from: number, to: number): void {
    if (to > from) scanner.push(bytes, from, to);
    if (this.isMidRequest) return;
    this.scanner = undefined;
    this.host.running(scanner.end(), bytes, 0, 0);
  }

  /** A packet that goes on with the one before it, or is part of a file. */
  private passPacket(bytes: Buffer, at: number, length: number): void {
    const wasContinued = this.isContinued;
    this.isContinued = length === PAYLOAD_MAX;
    const { connection } = this;
    if (connection === undefined || !connection.ledger.isReadingFile) return;
    // The client counts the packets that only it has got.
    bytes[at + 3] -= connection.sequenceShift;
    if (length === 0 && !wasContinued) connection.ledger.fileEnded();
  }

  /** Drops the command at the head of `first`, also the part of it that is still to come. */
  dropCommand(first: Buffer): Buffer {
    const length = payloadLengthAt(first, 0);
    const next = HEADER_BYTES + length;
    if (next > first.length) this.bodyLeft = next - first.length;
    this.isContinued = length === PAYLOAD_MAX;
    this.isDropping = this.isMidRequest;
    return first.subarray(Math.min(next, first.length));
  }

  // --- What each command means

  /**
   * A command goes to the database: what is owed is noted. Returns what became of it; unless that is
   * `SENT` nothing of it has been sent.
   */
  private command(bytes: Buffer, from: number, at: number, next: number, isWhole: boolean): number {
    const { host } = this;
    const payload = at + HEADER_BYTES;
    const command = next > payload ? bytes[payload] : -1;
    if (command === COM_QUIT) {
      this.flush(bytes, from, at);
      host.terminated();
      return GONE;
    }
    if (this.isResetting) {
      // The server reports as little as it does by itself, until the proxy has reset the connection in turn.
      if (this.connection?.ledger.isEmpty === false) return WAIT;
      this.isResetting = false;
    }
    if (isAboutStatement(command)) return this.statements.command(bytes, at, next, isWhole);
    if (this.connection === undefined) {
      if (MAY_PASS_WITHOUT_CONNECTION.has(command)) {
        return this.withoutConnection(command, bytes, payload, next);
      }
    } else if (isForProxy(command) && !this.connection.ledger.isEmpty) {
      return WAIT;
    }
    switch (command) {
      case COM_QUERY:
        return this.query(bytes, at, next, isWhole);
      case COM_CHANGE_USER:
        this.flush(bytes, from, at);
        host.userChanged(Buffer.from(bytes.subarray(payload, next)), bytes.subarray(next));
        return GONE;
      case COM_PROCESS_KILL:
        return this.processKill(bytes, at, next);
      case COM_RESET_CONNECTION:
        return this.reset(bytes, at);
      case COM_INIT_DB:
        if (this.connection === undefined) host.schemaWanted();
        return this.send(OWES_OK, bytes, at);
      case COM_PING:
      case COM_CREATE_DB:
      case COM_DROP_DB:
      case COM_DEBUG:
      case COM_REFRESH:
      case COM_SHUTDOWN:
        return this.send(OWES_OK, bytes, at);
      case COM_SET_OPTION:
        return this.setOption(bytes, payload, next);
      case COM_PROCESS_INFO:
        return this.send(OWES_RESULT, bytes, at);
      case COM_STATISTICS:
        return this.send(OWES_TEXT, bytes, at);
      case COM_FIELD_LIST:
        return this.send(OWES_FIELDS, bytes, at);
      default:
        if (this.connection?.ledger.isEmpty === false) return WAIT;
        host.refuse(new BerthError('command_unknown'));
        return DEALT_WITH;
    }
  }

  private withoutConnection(command: number, bytes: Buffer, payload: number, next: number): number {
    const { host } = this;
    switch (command) {
      case COM_PING:
        host.pinged();
        break;
      case COM_SET_OPTION:
        return this.setOption(bytes, payload, next);
      case COM_RESET_CONNECTION:
        this.statements.clear();
        host.resetWithoutConnection();
        break;
      default:
        break;
    }
    return DEALT_WITH;
  }

  private reset(bytes: Buffer, at: number): number {
    const done = this.send(OWES_OK | RESETS, bytes, at);
    // None is left when it has been answered, and whatever comes before that answer is behind it.
    if (done === SENT) {
      this.statements.clear();
      this.isResetting = true;
    }
    return done;
  }

  private send(owed: number, bytes: Buffer, at: number): number {
    if (
      this.connection === undefined &&
      !this.host.acquire(at === 0 ? bytes : bytes.subarray(at), PLAIN)
    ) {
      return GONE;
    }
    this.host.requested();
    const wasSure = this.connection?.ledger.isEmpty === true || !this.mayEndTransaction;
    this.mayHaveEnded = !wasSure || MAY_END_TRANSACTION.has(bytes[at + HEADER_BYTES]);
    this.lastText = undefined;
    this.connection?.ledger.owe(owed);
    return SENT;
  }

  private query(bytes: Buffer, at: number, next: number, isWhole: boolean): number {
    const { host } = this;
    const payloadAt = at + HEADER_BYTES;
    const textAt = queryTextAt(bytes, payloadAt, next, host.capabilities);
    const effects = textAt < 0 ? Effect.unknown : this.judge(bytes, textAt, next, isWhole);
    if ((effects & Effect.kill) !== 0) {
      const kill = host.killIn(bytes, textAt, next);
      if (kill !== undefined) return this.killAmong(kill, bytes, at, next);
    }
    if (this.connection === undefined && effects === Effect.schema) host.schemaWanted();
    if (
      this.connection === undefined &&
      !host.acquire(at === 0 ? bytes : bytes.subarray(at), effects)
    ) {
      return GONE;
    }
    host.requested();
    if (this.connection !== undefined) {
      const from = Math.max(textAt, payloadAt);
      this.noteEnd(this.connection, bytes, from, next, !isWhole || host.allowsMultiStatements);
    }
    if (host.isDebugLogged) host.sending(bytes.subarray(textAt < 0 ? next : textAt, next));
    if (effects !== 0) host.running(effects, bytes, Math.max(textAt, at + HEADER_BYTES + 1), next);
    const mayReadFile = (effects & Effect.loadLocal) !== 0;
    this.connection?.ledger.owe(mayReadFile ? OWES_RESULT | MAY_READ_FILE : OWES_RESULT);
    if (!isWhole && textAt >= 0) {
      this.scanner = new StatementScanner();
      this.scanner.reset(host.syntax);
      this.scanner.push(bytes, textAt, next);
    }
    return SENT;
  }

  /** Of a text that streams through it is known when it is over; until then it may ask for an insert id. */
  private judge(bytes: Buffer, textAt: number, next: number, isWhole: boolean): EffectSet {
    return isWhole ? this.host.judge(bytes, textAt, next) : Effect.readsInsertId;
  }

  /** Two bytes: 0 allows several statements in one text, 1 forbids it; there is nothing else. */
  private setOption(bytes: Buffer, payload: number, next: number): number {
    const option = next >= payload + 3 ? int16At(bytes, payload + 1) : -1;
    if (option === 0 || option === 1) this.host.optionSet(option === 0);
    else this.host.refuse(new BerthError('command_unknown'));
    return DEALT_WITH;
  }

  private processKill(bytes: Buffer, at: number, next: number): number {
    const idAt = at + HEADER_BYTES + 1;
    const id = next >= idAt + 4 ? int32At(bytes, idAt) : 0;
    if (this.host.knows(id)) return this.kill({ id, isQueryOnly: false, among: undefined });
    return this.send(OWES_OK, bytes, at);
  }

  /** Of one of our own clients, maybe this one. */
  private kill(kill: Kill): number {
    if (this.connection?.ledger.isEmpty === false) return WAIT;
    return this.host.kill(kill) ? SENT : DEALT_WITH;
  }

  /** A KILL in a whole text: what else is in it is sent. */
  private killAmong(kill: Kill, bytes: Buffer, at: number, next: number): number {
    const done = this.kill(kill);
    if (done !== SENT || kill.among === undefined) return done;
    replaceKill(bytes, kill.among.from, kill.among.to);
    return this.query(bytes, at, next, true);
  }

  /** Writes what was put before, and `bytes[from, to)`. */
  private flush(bytes: Buffer, from: number, to: number): void {
    const { connection, out } = this;
    if (connection === undefined || (from >= to && out.length === 0)) return;
    const isWhole = from === 0 && to === bytes.length;
    const run = isWhole ? bytes : bytes.subarray(from, to);
    if (out.length === 0) {
      connection.stream.write(run);
    } else {
      if (to > from) out.push(run);
      this.out = [];
      connection.stream.write(out.length === 1 ? out[0] : Buffer.concat(out));
    }
    if (connection.ledger.depth >= PIPELINE_MAX) this.stream.hold(HOLD_LEDGER_FULL);
  }
}

/** Commands that the proxy answers, when nothing else is owed. */
function isForProxy(command: number): boolean {
  return command === COM_CHANGE_USER || command === COM_PROCESS_KILL || command === COM_SET_OPTION;
}
