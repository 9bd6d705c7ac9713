/**
 * From the client to the database: cuts what the client sends into messages, notes in the ledger what
 * each will be answered with, and forwards them, by reference and as one write per chunk. It knows
 * when a connection is needed; where one comes from is the session's business.
 *
 * A message that is not whole yet is kept back, so that a client that vanishes leaves no half request
 * in a database; only what is too large to keep streams through. Named statements are translated here
 * (`statement/`): the only messages that do not reach the database as the client wrote them.
 */

import { GIVEN_MIN, HOLD_LEDGER_FULL, HOLD_PEER_CONGESTED, type Stream } from '../../net/stream.ts';
import type { PinReason } from '../../observe/reasons.ts';
import {
  type Effects,
  effectsOf,
  MAY_CLEAR,
  PLAIN,
  reasonSet,
} from '../../sql/postgres/effects.ts';
import { PlainTexts } from '../../sql/postgres/plain-texts.ts';
import { StatementScanner, type StringSyntax } from '../../sql/postgres/scanner.ts';
import {
  type NamedStatement,
  recogniseNamed,
  type StatementRemoval,
} from '../../sql/postgres/statement-names.ts';
import type { DatabaseConnection } from './database-connection.ts';
import {
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  CHANGES_UNNAMED,
  DESCRIBES_STATEMENT,
  INSERTED,
  MUST_FAIL,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_DESCRIBE,
  OWES_EXECUTE,
  OWES_FUNCTION_CALL,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
} from './ledger.ts';
import {
  CLIENT_STATEMENT_BYTES_MAX,
  CLIENT_STATEMENTS_MAX,
  ClientStatements,
} from './statement/client-statements.ts';
import type { Check, Difference } from './statement/connection-statements.ts';
import {
  CHANGED_NAME,
  escapedName,
  PASSING_NAME,
  PASSING_REMOVAL_NAME,
  quoted,
  SERVER_NAME_PREFIX,
} from './statement/names.ts';
import type { StatementRegistry } from './statement/registry.ts';
import { mayNameStatements, removalIn, removalText } from './statement/removal.ts';
import { privateStatement, type Reading, type Statement } from './statement/statement.ts';
import { BoundParameters } from './wire/bound-parameters.ts';
import {
  bindMessage,
  CLOSE_UNNAMED_MESSAGE,
  closePortalMessage,
  closeStatementMessage,
  describePortalMessage,
  describeStatementMessage,
  FLUSH_MESSAGE,
  lengthMaxOf,
  parseHeader,
  parseMessage,
  queryMessage,
  renamedBindHeader,
  SYNC_MESSAGE,
} from './wire/frontend.ts';
import {
  BIND,
  CLOSE,
  COPY_DATA,
  COPY_DONE,
  COPY_FAIL,
  DESCRIBE,
  EXECUTE,
  FLUSH,
  FUNCTION_CALL,
  HEADER_BYTES,
  lengthAt,
  message,
  PARSE,
  QUERY,
  SYNC,
  TERMINATE,
} from './wire/messages.ts';

/** A message up to this size is kept until it is whole; a larger one streams through. */
const HELD_MESSAGE_MAX = 256 * 1024;
const PIECES_MAX = 64;
/** Replies owed to one client; beyond this its pipeline stays in its socket until some have come. */
export const PIPELINE_MAX = 32 * 1024;
/** An unnamed statement that sits in a larger chunk is copied out of it before the session idles. */
const RETAINED_CHUNK_MAX = 4 * 1024;

/** The session, as the relay sees it. */
export interface RelayHost {
  /** Borrows a connection and calls `Relay.attach`; or keeps `rest` for later and returns false. */
  acquire(rest: Buffer): boolean;
  /** Keeps `rest` until the database has answered more. */
  wait(rest: Buffer): void;
  terminated(): void;
  violated(what: string): void;
  /** Something happened that ties the session to its connection. `text` is the statement. */
  pin(reason: PinReason, text: Uint8Array): void;
  /**
   * A statement with `effects` is about to run. `text` is empty when it was not kept. `parameters` are
   * good until this returns.
   */
  suspect(effects: Effects, text: Uint8Array, parameters?: BoundParameters): void;
  /** A DISCARD ALL is about to run. */
  discarding(): void;
  requested(): void;
  /** Something of this session alone may be on the connection. */
  readonly mayHaveLeft: boolean;
  /** How the database reads string constants. */
  readonly stringSyntax: StringSyntax;
  /** The client listens by way of a hub, and has to be told what it runs. */
  readonly isListening: boolean;
  /** A LISTEN is about to be sent. Returns false when it has to wait, for a hub or for an answer. */
  mayListen(text: string): boolean;
  /** A listening client's text is about to be run. */
  running(text: string): void;
  /** A Sync ended the skipping that `Relay.skip` began. */
  skipped(): void;
}

/** The last Parse of the unnamed statement: where it lies, and its number. */
interface UnnamedStatement {
  readonly id: number;
  readonly effects: Effects;
  readonly removal: StatementRemoval | undefined;
  bytes: Buffer;
  at: number;
  end: number;
}

let lastUnnamedStatement = 0;
/** One for the process: what a text does is the same for all. */
const PLAIN_TEXTS = new PlainTexts();

export class Relay {
  connection: DatabaseConnection | undefined = undefined;
  private readonly host: RelayHost;
  private readonly stream: Stream;
  private readonly registry: StatementRegistry;
  /** What decides the meaning of a text beside the text; see `StatementRegistry.intern`. */
  variant: string;
  private named: ClientStatements | undefined = undefined;
  private unnamed: UnnamedStatement | undefined = undefined;
  /** Portals, by name, that will take prepared statements away. */
  private removals: Map<string, StatementRemoval> | undefined = undefined;
  /** What the client runs may take statements away, or make them, without a word of the protocol. */
  private isWary = false;
  /** Texts have been read on this connection as they would not be read by another client. */
  private isTainted = false;
  /** The client waits for something that a server would not send yet. */
  private isFlushDue = false;
  /** Pieces of a message that is not whole yet. */
  private pieces: Buffer[] | undefined = undefined;
  private piecesBytes = 0;
  private piecesWanted = 0;
  /** What is still to come of a message that streams through. */
  bodyLeft = 0;
  private scanner: StatementScanner | undefined = undefined;
  private isScanning = false;
  /** A request was refused by the proxy: everything up to the next Sync is dropped. */
  private isSkipping = false;
  /** The session has ended; nothing more of it goes anywhere. */
  private isOver = false;
  /** What goes out in the next write. */
  private out: Buffer[] = [];

  constructor(host: RelayHost, stream: Stream, registry: StatementRegistry, variant: string) {
    this.host = host;
    this.stream = stream;
    this.registry = registry;
    this.variant = variant;
  }

  attach(connection: DatabaseConnection): void {
    this.connection = connection;
  }

  /** The session is over. */
  end(): void {
    this.isOver = true;
  }

  /** The session is done with its connection. */
  detach(): void {
    this.connection?.statements.ended(this.isTainted);
    this.isTainted = false;
    this.removals = undefined;
    this.connection = undefined;
    if (this.out.length > 0) this.out = [];
    this.retainUnnamed();
  }

  // --- Messages out of chunks

  take(bytes: Buffer): void {
    if (this.pieces === undefined) this.process(bytes);
    else this.assemble(bytes);
  }

  /** Collects pieces until the message is whole; the header may itself have been cut. */
  private assemble(bytes: Buffer): void {
    const pieces = this.pieces ?? [];
    pieces.push(bytes);
    this.piecesBytes += bytes.length;
    if (this.piecesBytes < this.piecesWanted) {
      // A message that trickles in must not cost an object for each byte.
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
    let at = this.bodyLeft > 0 ? this.passBody(bytes) : 0;
    /** Where the run of bytes begins that is forwarded as it is. */
    let from = this.connection === undefined ? at : 0;
    let waitedAt = -1;
    while (at < end) {
      if (end - at < HEADER_BYTES) {
        this.keepPiece(bytes, at, HEADER_BYTES);
        break;
      }
      const type = bytes[at];
      const length = lengthAt(bytes, at);
      if (length < 4 || length > lengthMaxOf(type)) {
        this.flush(bytes, from, at);
        this.host.violated(
          lengthMaxOf(type) === 0 ? `unknown type ${type}` : `length ${length} of type ${type}`,
        );
        return;
      }
      const next = at + 1 + length;
      const isWhole = next <= end;
      if (!isWhole && type !== COPY_DATA) {
        // Of a large message too the beginning must be there: it says what the message is about.
        const kept = Math.min(1 + length, HELD_MESSAGE_MAX);
        if (end - at < kept) {
          this.keepPiece(bytes, at, kept);
          break;
        }
      }
      if (type === TERMINATE) {
        this.flush(bytes, from, at);
        this.host.terminated();
        return;
      }
      if (this.connection === undefined) {
        if (this.isSkipping || isOnlyForCopy(type)) {
          if (type === SYNC && this.isSkipping) this.endSkipping();
          if (!isWhole) this.bodyLeft = next - end;
          at = isWhole ? next : end;
          from = at;
          continue;
        }
        if (!this.host.acquire(at === 0 ? bytes : bytes.subarray(at))) return;
      }
      const isNoted = isWhole || type === BIND;
      const begin = isNoted
        ? this.note(type, bytes, from, at, next)
        : this.noteLarge(type, bytes, from, at, next);
      if (begin === WAIT || begin === WAIT_FOR_CHECK) {
        this.flush(bytes, begin === WAIT ? from : at, at);
        from = at;
        if (waitedAt !== at && this.connection?.ledger.isEmpty) {
          // It waited for answers of our own, which have just been given.
          waitedAt = at;
          continue;
        }
        this.host.wait(at === 0 ? bytes : bytes.subarray(at));
        return;
      }
      // The client has been told that this is the end.
      if (this.isOver) return;
      from = begin;
      if (!isWhole) this.bodyLeft = next - end;
      at = isWhole ? next : end;
    }
    this.flush(bytes, from, at);
  }

  /** Passes on the rest of a message that streams through. Returns where it ends in `bytes`. */
  private passBody(bytes: Buffer): number {
    const length = Math.min(this.bodyLeft, bytes.length);
    this.bodyLeft -= length;
    if (this.isScanning) {
      this.scanner?.push(bytes, 0, this.bodyLeft === 0 ? length - 1 : length);
      if (this.bodyLeft === 0) this.scanned();
    }
    return length;
  }

  /** Drops the message at the head of `first`, also the part of it that is still to come. */
  dropMessage(first: Buffer): Buffer {
    const next = 1 + lengthAt(first, 0);
    if (next > first.length) this.bodyLeft = next - first.length;
    return first.subarray(Math.min(next, first.length));
  }

  /** Drops everything up to the next Sync, as a server does after an error. */
  skip(): void {
    this.isSkipping = true;
  }

  private endSkipping(): void {
    this.isSkipping = false;
    this.host.skipped();
  }

  // --- What each message means

  /**
   * A whole message goes to the database. Returns where the next run of bytes begins, or `WAIT` when
   * it cannot go yet; then nothing has been noted.
   */
  private note(type: number, bytes: Buffer, from: number, at: number, next: number): number {
    const { connection } = this;
    if (connection === undefined) return from;
    const { ledger } = connection;
    switch (type) {
      case QUERY:
        return this.query(connection, bytes, from, at, next);
      case PARSE:
        return this.parse(connection, bytes, from, at, next);
      case BIND:
        return this.bind(connection, bytes, from, at, next);
      case DESCRIBE:
        return this.describe(connection, bytes, from, at, next);
      case EXECUTE:
        if (this.removals !== undefined) {
          return this.executeRemoval(connection, this.removals, bytes, from, at);
        }
        this.host.requested();
        ledger.owe(OWES_EXECUTE);
        return from;
      case CLOSE:
        return this.close(connection, bytes, from, at, next);
      case SYNC:
        return this.sync(connection, from);
      case FUNCTION_CALL:
        this.host.requested();
        ledger.owe(OWES_FUNCTION_CALL);
        this.batchEnded(connection);
        return from;
      case COPY_DONE:
      case COPY_FAIL:
        ledger.copyEnded();
        return from;
      default:
        // CopyData and Flush are not answered.
        return from;
    }
  }

  private query(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const textAt = at + HEADER_BYTES;
    const effects = this.classify(bytes, textAt, next - 1);
    let begin: number | undefined;
    if (effects !== PLAIN && mayNameStatements(effects) && !connection.ledger.isSkipping) {
      const named = recogniseNamed(bytes.toString('latin1', textAt, next - 1));
      begin = named && this.queryNamed(connection, named, bytes, from, at, next);
      if (begin === WAIT) return WAIT;
      if (named !== undefined && begin !== undefined) this.removing(named);
    }
    if (isListen(effects) && !this.mayListen(connection, bytes, textAt, next)) return WAIT;
    this.host.requested();
    if (this.host.isListening) this.host.running(bytes.toString('latin1', textAt, next - 1));
    this.setUnnamed(connection, undefined);
    if (begin === undefined) {
      this.apply(effects, bytes, textAt, next);
      connection.ledger.owe(OWES_QUERY);
    }
    this.batchEnded(connection);
    return begin ?? from;
  }

  private removing({ kind }: NamedStatement): void {
    if (kind === 'discard_all') this.host.discarding();
    else if (kind !== 'execute') this.host.suspect(CLEARING, EMPTY);
  }

  /** Whether the LISTEN between `from` and `to` can be sent: a hub listens, and all before is known. */
  private mayListen(
    { ledger }: DatabaseConnection,
    bytes: Buffer,
    from: number,
    to: number,
  ): boolean {
    if (ledger.isSkipping) return true;
    const end = bytes.indexOf(0, from);
    const mayListen = this.host.mayListen(bytes.toString('latin1', from, Math.min(end, to)));
    if (!mayListen && ledger.isBatchOpen) this.isFlushDue = true;
    return mayListen;
  }

  /** The same for a statement that is about to be bound. */
  private mayBind(
    connection: DatabaseConnection,
    effects: Effects,
    { bytes, at, end }: Pick<UnnamedStatement, 'bytes' | 'at' | 'end'>,
  ): boolean {
    if (!isListen(effects)) return true;
    return this.mayListen(connection, bytes, bytes.indexOf(0, at + HEADER_BYTES) + 1, end);
  }

  /** Tells what a listening client has bound: the statement in the Parse at `at`. */
  private tellBound(parse: Buffer, at: number): void {
    const from = parse.indexOf(0, at + HEADER_BYTES) + 1;
    this.host.running(parse.toString('latin1', from, parse.indexOf(0, from)));
  }

  /**
   * A simple query about statements that the protocol prepared, in the names of the database. Returns
   * where the next run of bytes begins, or `WAIT`.
   */
  private queryNamed(
    connection: DatabaseConnection,
    named: NamedStatement,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger, statements } = connection;
    this.named ??= new ClientStatements();
    const name = 'name' in named ? named.name : undefined;
    if (this.mustWait(connection, name)) return WAIT;
    if (name === undefined) {
      // What it clears beside statements is seen in its reply.
      this.named.clear();
      statements.clear();
      ledger.owe(OWES_QUERY | CHANGES_CLIENT | CHANGES_CONNECTION);
      return from;
    }
    const statement = this.named.get(name);
    if (statement === undefined && !name.startsWith(SERVER_NAME_PREFIX)) {
      // Prepared in SQL, and then the session is pinned; or there is none.
      ledger.owe(OWES_QUERY);
      return from;
    }
    this.emit(bytes, from, at);
    if (named.kind === 'execute') this.queryExecute(connection, named, statement);
    else this.queryDeallocate(connection, name, statement);
    return next;
  }

  /** EXECUTE of `statement`; without one, of somebody else's, or of none. */
  private queryExecute(
    connection: DatabaseConnection,
    { name, rest }: { readonly name: string; readonly rest: string },
    statement: Statement | undefined,
  ): void {
    const { ledger } = connection;
    const serverName = statement?.serverName ?? quoted(escapedName(name));
    const message = queryMessage(`EXECUTE ${serverName}${rest}`, 'latin1');
    if (statement !== undefined) {
      this.applyStatement(statement);
      // In a batch of its own, which may fail by itself.
      if (!ledger.isBatchOpen && !connection.statements.use(statement)) {
        // Other rows than before need no error: the answer to a simple query describes them.
        this.prepareAgain(connection, statement);
        this.endBatch(connection);
      }
    }
    ledger.owe(OWES_QUERY);
    this.out.push(message);
  }

  /** Of a statement that is only a name, the connection's is left alone and another one goes. */
  private queryDeallocate(
    connection: DatabaseConnection,
    name: string,
    statement: Statement | undefined,
  ): void {
    const { ledger } = connection;
    if (statement === undefined) {
      ledger.owe(OWES_QUERY);
      this.out.push(queryMessage(`DEALLOCATE ${quoted(escapedName(name))}`, 'latin1'));
      return;
    }
    this.preparePassing(connection);
    this.named?.change(name, undefined);
    ledger.owe(OWES_QUERY | CHANGES_CLIENT);
    this.out.push(DEALLOCATE_PASSING);
  }

  /** Prepares the statement that DEALLOCATE takes. It is empty, so it cannot fail. */
  private preparePassing(connection: DatabaseConnection): void {
    connection.ledger.owe(OWES_CLOSE | OURS);
    connection.ledger.owe(OWES_PARSE | OURS);
    this.out.push(PREPARE_PASSING);
  }

  /** Ends a batch of our own before a simple query. */
  private endBatch(connection: DatabaseConnection): void {
    connection.ledger.owe(OWES_SYNC | OURS);
    this.out.push(SYNC_MESSAGE);
  }

  private parse(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const nameEnd = nameEndAt(bytes, at + HEADER_BYTES);
    const textEnd = nameEnd < 0 || nameEnd >= next ? -1 : bytes.indexOf(0, nameEnd + 1);
    // Malformed, or not even looked at: the server has the last word.
    if (textEnd < 0 || textEnd >= next || ledger.isSkipping) {
      ledger.owe(nameEnd > at + HEADER_BYTES ? OWES_PARSE : OWES_PARSE | CHANGES_UNNAMED);
      return from;
    }
    if (nameEnd > at + HEADER_BYTES) {
      const name = bytes.toString('latin1', at + HEADER_BYTES, nameEnd);
      return this.parseNamed(connection, name, bytes, from, { at, body: nameEnd + 1, next });
    }
    const effects = this.classify(bytes, nameEnd + 1, textEnd);
    // While it waits for the first LISTEN of all, the connection can still be given back.
    if (isListen(effects) && !this.mayListen(connection, bytes, nameEnd + 1, next)) return WAIT;
    const id = ++lastUnnamedStatement;
    const removal = removalIn(effects, bytes, nameEnd + 1, textEnd);
    const text = removal && removalText(removal);
    ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
    if (text !== undefined) {
      this.emit(bytes, from, at);
      const changed = message(PARSE, UNNAMED, text, bytes.subarray(textEnd + 1, next));
      const unnamed = { id, effects: PLAIN, removal, bytes: changed, at: 0, end: changed.length };
      this.setUnnamed(connection, unnamed);
      this.out.push(changed);
      return next;
    }
    const remaining = removal === undefined ? effects : PLAIN;
    this.setUnnamed(connection, { id, effects: remaining, removal, bytes, at, end: next });
    return from;
  }

  private parseNamed(
    connection: DatabaseConnection,
    name: string,
    bytes: Buffer,
    from: number,
    { at, body, next }: { readonly at: number; readonly body: number; readonly next: number },
  ): number {
    if (this.mustWait(connection, name)) return WAIT;
    this.named ??= new ClientStatements();
    const { named } = this;
    const existing = named.get(name);
    if (existing !== undefined) {
      this.emit(bytes, from, at);
      // The database refuses the name that it already has (42P05), in its place in the stream.
      if (!connection.statements.use(existing)) this.prepareAgain(connection, existing);
      connection.ledger.owe(OWES_PARSE);
      this.out.push(parseHeader(existing.serverName, next - body));
      return body;
    }
    if (named.isFull) {
      this.flush(bytes, from, at);
      this.host.violated(TOO_MANY_STATEMENTS);
      return next;
    }
    const statement = this.statementFor(named, bytes, body, next);
    if (isListen(statement.effects) && !this.mayListen(connection, bytes, body, next)) return WAIT;
    this.emit(bytes, from, at);
    named.change(name, statement);
    this.prepareForClient(connection, statement);
    return next;
  }

  /** A session with a way of reading of its own shares its statements with nobody. */
  private statementFor(
    named: ClientStatements,
    bytes: Buffer,
    from: number,
    to: number,
  ): Statement {
    const { reading } = this;
    if (!this.isAsUsual) return privateStatement(bytes, from, to, reading);
    const isTaken = (each: Statement) => named.isNamed(each);
    return this.registry.intern(bytes, from, to, reading, isTaken);
  }

  private get reading(): Reading {
    return { variant: this.variant, syntax: this.host.stringSyntax };
  }

  /** What `name` stands for, under the settings that the session has now. */
  private statementOf(name: string): Statement | undefined {
    const { named } = this;
    const statement = named?.get(name);
    if (named === undefined || statement === undefined) return undefined;
    const isOwn = statement.key === undefined || !this.isAsUsual;
    if (isOwn || statement.variant === this.variant) return statement;
    const isTaken = (each: Statement) => named.isNamed(each);
    const reread = this.registry.reread(statement, this.reading, isTaken);
    named.replace(statement, reread);
    return reread;
  }

  /** Texts mean what they would mean to any other client with the same settings. */
  private get isAsUsual(): boolean {
    return !this.isTainted && !this.host.mayHaveLeft;
  }

  /** The client's own Parse of `statement`, answered by the database or, where that is safe, by us. */
  private prepareForClient(connection: DatabaseConnection, statement: Statement): void {
    const { ledger, statements } = connection;
    if (this.isAsUsual && ledger.isSureNotFailed && statements.isFresh(statement)) {
      statements.use(statement);
      ledger.owe(OWES_PARSE | INSERTED | CHANGES_CLIENT);
      return;
    }
    // In a failed transaction Parse is refused, so the database has to be asked; and the schema, or
    // settings of this session, may have changed: the client gets the statement as it would be now.
    this.prepare(connection, statement, CHANGES_CLIENT, 'noted');
  }

  /**
   * Prepares a statement that the client has and the connection has not. What it was described as is
   * described again, unless it gives no rows; its parameters have the types that they had.
   */
  private prepareAgain(connection: DatabaseConnection, statement: Statement): Check {
    const isKnown = statement.description !== undefined;
    const check = !isKnown ? 'noted' : statement.hasNoRows ? 'none' : 'awaited';
    this.prepare(connection, statement, OURS, check);
    return check;
  }

  private prepare(
    connection: DatabaseConnection,
    statement: Statement,
    flag: number,
    check: Check,
  ): void {
    const { ledger, statements } = connection;
    if (statements.mayBeThere(statement)) this.closeOnServer(connection, statement);
    // Everything is done in the order in which it is sent, so what needs the one that goes has had it,
    // or will prepare it again. Not at the Sync: a COPY may be reading by then.
    const { surplus } = statements;
    if (surplus !== undefined) this.closeOnServer(connection, surplus);
    statements.parseSent(statement, check);
    ledger.owe(OWES_PARSE | CHANGES_CONNECTION | flag);
    this.out.push(flag === OURS ? statement.parseAgain : statement.parse);
    if (check === 'none') return;
    ledger.owe(OWES_DESCRIBE | OURS | DESCRIBES_STATEMENT);
    this.out.push(statement.describe);
  }

  private closeOnServer(connection: DatabaseConnection, statement: Statement): void {
    connection.statements.closeSent(statement);
    connection.ledger.owe(OWES_CLOSE | OURS | CHANGES_CONNECTION);
    this.out.push(statement.close);
  }

  private bind(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const portalEnd = nameEndAt(bytes, at + HEADER_BYTES);
    const nameEnd = portalEnd < 0 ? -1 : nameEndAt(bytes, portalEnd + 1);
    if (nameEnd < 0 || nameEnd >= next || ledger.isSkipping) {
      ledger.owe(OWES_BIND);
      return from;
    }
    if (nameEnd === portalEnd + 1) {
      const { unnamed } = this;
      if (unnamed !== undefined && !this.mayBind(connection, unnamed.effects, unnamed)) return WAIT;
      const begin = this.beforeUnnamed(connection, bytes, from, at);
      if (unnamed !== undefined) this.applyUnnamed(unnamed, bytes, nameEnd + 1, next);
      if (unnamed !== undefined && this.host.isListening) this.tellBound(unnamed.bytes, unnamed.at);
      ledger.owe(OWES_BIND);
      const removal = this.unnamed?.removal;
      if (removal !== undefined || this.removals !== undefined) {
        this.noteRemoval(bytes.toString('latin1', at + HEADER_BYTES, portalEnd), removal);
      }
      return begin;
    }
    const name = bytes.toString('latin1', portalEnd + 1, nameEnd);
    if (this.mustWait(connection, name)) return WAIT;
    const statement = this.statementOf(name);
    if (statement !== undefined) {
      const { effects, parse } = statement;
      const place = { bytes: parse, at: 0, end: parse.length };
      if (!this.mayBind(connection, effects, place)) return WAIT;
    }
    const serverName = this.serverName(connection, name, statement, bytes, from, at);
    if (serverName === AWAITED) return WAIT_FOR_CHECK;
    if (statement !== undefined) this.applyStatement(statement, bytes, nameEnd + 1, next);
    if (statement !== undefined && this.host.isListening) this.tellBound(statement.parse, 0);
    ledger.owe(serverName === CHANGED_NAME ? OWES_BIND | MUST_FAIL : OWES_BIND);
    const removal = statement?.removal;
    if (removal !== undefined || this.removals !== undefined) {
      this.noteRemoval(bytes.toString('latin1', at + HEADER_BYTES, portalEnd), removal);
    }
    if (serverName === undefined) return from;
    this.out.push(renamedBindHeader(bytes, at, { portalEnd, nameEnd, next }, serverName));
    // The rest of the message begins the next run.
    return nameEnd + 1;
  }

  private describe(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    if (bytes[at + HEADER_BYTES] !== STATEMENT || ledger.isSkipping) {
      ledger.owe(OWES_DESCRIBE);
      return from;
    }
    const nameAt = at + HEADER_BYTES + 1;
    if (nameAt === next - 1) {
      const begin = this.beforeUnnamed(connection, bytes, from, at);
      ledger.owe(OWES_DESCRIBE);
      return begin;
    }
    const name = bytes.toString('latin1', nameAt, next - 1);
    if (this.mustWait(connection, name)) return WAIT;
    const statement = this.statementOf(name);
    const serverName = this.serverName(connection, name, statement, bytes, from, at);
    if (serverName === AWAITED) return WAIT_FOR_CHECK;
    if (serverName === CHANGED_NAME) {
      // Nobody waits for two of them at a time: to know that another has changed, one waits.
      connection.parametersTold = statement?.description?.parameterTypes;
      ledger.owe(OWES_DESCRIBE | MUST_FAIL);
    } else {
      ledger.owe(OWES_DESCRIBE);
    }
    if (serverName === undefined) return from;
    this.out.push(describeStatementMessage(serverName));
    return next;
  }

  /**
   * The name by which the connection knows the client's statement `name`, which it has by then; the
   * bytes up to `at` have been emitted. `undefined`: the name goes as it is.
   */
  private serverName(
    connection: DatabaseConnection,
    name: string,
    statement: Statement | undefined,
    bytes: Buffer,
    from: number,
    at: number,
  ): string | undefined {
    if (statement === undefined) {
      if (!name.startsWith(SERVER_NAME_PREFIX)) return undefined;
      // Nobody else's statement, whatever the client calls it.
      this.emit(bytes, from, at);
      return escapedName(name);
    }
    this.emit(bytes, from, at);
    if (connection.statements.use(statement)) return statement.serverName;
    return this.checkedName(connection, statement);
  }

  /**
   * The connection does not have `statement`, or not for sure. What the client knows of it must still
   * be true when it runs, so it runs when the database has said so.
   */
  private checkedName(connection: DatabaseConnection, statement: Statement): string {
    const { statements } = connection;
    if (statements.isAwaited(statement)) {
      this.isFlushDue = true;
      return AWAITED;
    }
    if (statements.takeChanged(statement)) return CHANGED_NAME;
    if (this.prepareAgain(connection, statement) !== 'awaited') return statement.serverName;
    this.isFlushDue = true;
    return AWAITED;
  }

  // --- Statements that take prepared statements away

  /** A portal was bound to a statement that is `removal`, or to another. */
  private noteRemoval(portal: string, removal: StatementRemoval | undefined): void {
    if (removal === undefined) {
      this.removals?.delete(portal);
      return;
    }
    this.removals ??= new Map();
    this.removals.set(portal, removal);
  }

  /** Execute, when one of the client's portals takes statements away; like `queryNamed`. */
  private executeRemoval(
    connection: DatabaseConnection,
    removals: Map<string, StatementRemoval>,
    bytes: Buffer,
    from: number,
    at: number,
  ): number {
    const { ledger, statements } = connection;
    const portalEnd = bytes.indexOf(0, at + HEADER_BYTES);
    const portal = bytes.toString('latin1', at + HEADER_BYTES, portalEnd);
    const removal = ledger.isSkipping ? undefined : removals.get(portal);
    const name = removal?.kind === 'deallocate' ? removal.name : undefined;
    if (removal !== undefined && this.mustWait(connection, name)) return WAIT;
    if (removal !== undefined) this.removing(removal);
    this.host.requested();
    // It runs once, whether it succeeds or not.
    removals.delete(portal);
    if (removal !== undefined && name === undefined) {
      this.named ??= new ClientStatements();
      this.named.clear();
      statements.clear();
      ledger.owe(OWES_EXECUTE | CHANGES_CLIENT | CHANGES_CONNECTION);
      return from;
    }
    if (name === undefined || this.named?.get(name) === undefined) {
      ledger.owe(OWES_EXECUTE);
      return from;
    }
    this.emit(bytes, from, at);
    this.bindToPassing(connection, portal);
    this.named.change(name, undefined);
    ledger.owe(OWES_EXECUTE | CHANGES_CLIENT);
    return at;
  }

  /** The portal, if it is there, is to take a statement that is there for that. */
  private bindToPassing(connection: DatabaseConnection, portal: string): void {
    const { ledger } = connection;
    ledger.owe(OWES_DESCRIBE | OURS);
    this.out.push(describePortalMessage(portal));
    ledger.owe(OWES_CLOSE | OURS);
    this.out.push(closePortalMessage(portal));
    this.preparePassing(connection);
    ledger.owe(OWES_CLOSE | OURS);
    ledger.owe(OWES_PARSE | OURS);
    ledger.owe(OWES_BIND | OURS);
    this.out.push(PREPARE_PASSING_REMOVAL, bindMessage(portal, PASSING_REMOVAL_NAME));
  }

  private close(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const nameAt = at + HEADER_BYTES + 1;
    if (bytes[at + HEADER_BYTES] !== STATEMENT || ledger.isSkipping) {
      this.removals?.delete(bytes.toString('latin1', nameAt, next - 1));
      ledger.owe(OWES_CLOSE);
      return from;
    }
    if (nameAt >= next - 1) {
      this.setUnnamed(connection, undefined);
      ledger.owe(OWES_CLOSE | CHANGES_UNNAMED);
      return from;
    }
    const name = bytes.toString('latin1', nameAt, next - 1);
    if (this.mustWait(connection, name)) return WAIT;
    this.emit(bytes, from, at);
    if (this.named?.get(name) !== undefined) {
      // The connection keeps the statement.
      this.named.change(name, undefined);
      ledger.owe(OWES_CLOSE | INSERTED | CHANGES_CLIENT);
      return next;
    }
    if (this.host.mayHaveLeft) {
      // One that the database knows by the client's name: prepared in SQL, or too large to be kept.
      ledger.owe(OWES_CLOSE);
      if (!name.startsWith(SERVER_NAME_PREFIX)) return at;
      this.out.push(closeStatementMessage(escapedName(name)));
      return next;
    }
    // To close one that does not exist is no error.
    ledger.owe(OWES_CLOSE | INSERTED);
    return next;
  }

  private sync(connection: DatabaseConnection, from: number): number {
    connection.ledger.owe(OWES_SYNC);
    this.batchEnded(connection);
    return from;
  }

  private batchEnded(connection: DatabaseConnection): void {
    connection.statements.batchEnded();
    this.named?.batchEnded();
  }

  /**
   * Whether it is not known yet what `name` stands for (`undefined`: all names), because earlier
   * requests that have not been answered may change it. Whoever pipelines like that waits here, and
   * gets what a server would give, which does one thing after the other.
   */
  private mustWait({ ledger }: DatabaseConnection, name: string | undefined): boolean {
    // A server that reads COPY data takes nothing else, and what it reads may be behind this.
    if (ledger.isCopyIn) return false;
    if (this.isWary && !ledger.isEmpty) {
      if (ledger.isBatchOpen) this.isFlushDue = true;
      return true;
    }
    return this.named?.isUncertain(name) ?? false;
  }

  /**
   * A Bind or Describe of the unnamed statement must find this client's: another client may have used
   * the connection since. Returns where the next run of bytes begins.
   */
  private beforeUnnamed(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
  ): number {
    const wanted = this.unnamed?.id ?? 0;
    if (connection.unnamedStatement === wanted || connection.ledger.isSkipping) return from;
    this.emit(bytes, from, at);
    connection.unnamedStatement = wanted;
    if (this.unnamed === undefined) {
      connection.ledger.owe(OWES_CLOSE | OURS | CHANGES_UNNAMED);
      this.out.push(CLOSE_UNNAMED_MESSAGE);
    } else {
      const { bytes: chunk, at: begin, end } = this.unnamed;
      connection.ledger.owe(OWES_PARSE | OURS | CHANGES_UNNAMED);
      this.out.push(chunk.subarray(begin, end));
    }
    return at;
  }

  /** What the database makes of the unnamed statement, unless it discards the message. */
  private setUnnamed(connection: DatabaseConnection, unnamed: UnnamedStatement | undefined): void {
    if (connection.ledger.isSkipping) return;
    this.unnamed = unnamed;
    connection.unnamedStatement = unnamed?.id ?? 0;
  }

  /** The beginning of a message that is too large to keep goes to the database; the rest follows. */
  private noteLarge(type: number, bytes: Buffer, from: number, at: number, next: number): number {
    const { connection } = this;
    if (connection === undefined) return from;
    const { ledger } = connection;
    switch (type) {
      case QUERY:
        this.host.requested();
        this.setUnnamed(connection, undefined);
        // What the text does is known at its end, long before the connection is given back.
        this.scanner ??= new StatementScanner();
        this.scanner.reset(this.host.stringSyntax);
        this.scanner.push(bytes, at + HEADER_BYTES, bytes.length);
        this.isScanning = true;
        ledger.owe(OWES_QUERY);
        this.batchEnded(connection);
        return from;
      case PARSE:
        return this.parseLarge(connection, bytes, from, at, next);
      case FUNCTION_CALL:
        this.host.requested();
        ledger.owe(OWES_FUNCTION_CALL);
        this.batchEnded(connection);
        return from;
      default:
        // CopyData. What a large Bind means is in its first bytes: `note` sees to it.
        return from;
    }
  }

  /** It cannot be kept, so it cannot be sent again to another connection. */
  private parseLarge(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const nameAt = at + HEADER_BYTES;
    const nameEnd = bytes.indexOf(0, nameAt);
    if (ledger.isSkipping || nameEnd === nameAt) {
      this.host.pin('large_statement', EMPTY);
      this.setUnnamed(connection, undefined);
      ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
      return from;
    }
    const name = nameEnd < 0 ? '' : bytes.toString('latin1', nameAt, nameEnd);
    if (this.mustWait(connection, name)) return WAIT;
    this.host.pin('large_statement', EMPTY);
    // A name that is taken is refused, as ever.
    const existing = this.named?.get(name);
    if (existing !== undefined && !connection.statements.use(existing)) {
      this.emit(bytes, from, at);
      from = at;
      this.prepareAgain(connection, existing);
    }
    const isEscaped = name.startsWith(SERVER_NAME_PREFIX);
    const serverName = existing?.serverName ?? (isEscaped ? escapedName(name) : undefined);
    ledger.owe(OWES_PARSE);
    if (serverName === undefined) return from;
    this.emit(bytes, from, at);
    this.out.push(parseHeader(serverName, next - nameEnd - 1));
    return nameEnd + 1;
  }

  private scanned(): void {
    this.isScanning = false;
    if (this.scanner !== undefined) this.apply(this.scanner.end(), EMPTY, 0, 0);
  }

  private classify(bytes: Buffer, from: number, to: number): Effects {
    return PLAIN_TEXTS.classify(bytes, from, to, this.host.stringSyntax);
  }

  /** `to` is the end of the message that `effects` were read from; the text may end before it. */
  private apply(
    effects: Effects,
    bytes: Buffer,
    from: number,
    to: number,
    parameters?: BoundParameters,
  ): void {
    if (effects === PLAIN) return;
    if (effects.isReadingLocal || effects.reasons.includes('set')) this.isTainted = true;
    if (mayNameStatements(effects)) this.isWary = true;
    const end = bytes.indexOf(0, from);
    const text = bytes.subarray(from, end < 0 ? to : Math.min(end, to));
    this.host.suspect(effects, text, parameters);
  }

  /** It is bound by the Bind in `bind`, whose formats and values begin at `from`. */
  private applyUnnamed(
    { effects, bytes, at, end }: UnnamedStatement,
    bind: Buffer,
    from: number,
    to: number,
  ): void {
    if (effects === PLAIN) return;
    // Its name is the empty string.
    this.apply(effects, bytes, at + HEADER_BYTES + 1, end, new BoundParameters(bind, from, to));
  }

  private applyStatement(
    { effects, body }: Statement,
    bind: Buffer = EMPTY,
    from = 0,
    to = 0,
  ): void {
    if (effects === PLAIN) return;
    this.apply(effects, body, 0, body.length, new BoundParameters(bind, from, to));
  }

  // --- What replies say

  statementConfirmed(): void {
    this.named?.confirm();
  }

  statementsLost(count: number): void {
    this.named?.undo(count);
  }

  statementsCleared(): void {
    this.named?.lose();
  }

  /** What the client has prepared, or waits for, is not what it was. */
  statementChanged({ statement, description, isNew }: Difference): void {
    const { named } = this;
    const isTaken = (each: Statement) => named?.isNamed(each) ?? false;
    const successor = this.registry.succeed(statement, description, isTaken);
    if (isNew) named?.replace(statement, successor);
  }

  unnamedLost(): void {
    this.unnamed = undefined;
  }

  /** The transaction is over, and its portals went with it. */
  portalsGone(): void {
    this.removals = undefined;
  }

  nameOf(serverName: string): string | undefined {
    return this.named?.nameOf(serverName);
  }

  // --- Out

  /** Something of the proxy's own that goes out before the client's next message. */
  prepend(message: Buffer): void {
    this.out.push(message);
  }

  private emit(bytes: Buffer, from: number, to: number): void {
    if (to > from && this.connection !== undefined) this.out.push(bytes.subarray(from, to));
  }

  /** Writes what is to go out, `bytes[from, to)` last, in one write. */
  private flush(bytes: Buffer, from: number, to: number): void {
    const { connection, out } = this;
    if (connection === undefined) return;
    const { stream } = connection;
    if (this.isFlushDue) {
      this.isFlushDue = false;
      if (to > from) out.push(bytes.subarray(from, to));
      out.push(FLUSH_MESSAGE);
      from = to;
    }
    if (out.length === 0) {
      const isWhole = from === 0 && to === bytes.length;
      // Nobody else has a chunk that goes out as it came in, but for the unnamed statement.
      if (!isWhole) {
        if (to > from) stream.write(bytes.subarray(from, to));
      } else if (bytes.length < GIVEN_MIN || this.isUnnamedIn(bytes)) stream.write(bytes);
      else stream.give(bytes);
    } else {
      this.out = [];
      stream.write(joined(out, bytes, from, to));
    }
    if ((connection.ledger.head & INSERTED) !== 0) connection.tellInserted();
    if (stream.isCongested) this.stream.hold(HOLD_PEER_CONGESTED);
    if (connection.ledger.depth > PIPELINE_MAX) this.stream.hold(HOLD_LEDGER_FULL);
  }

  /** To ask for the `buffer` of a chunk makes an object of it, so do it for large ones only. */
  private isUnnamedIn(chunk: Buffer): boolean {
    return this.unnamed?.bytes.buffer === chunk.buffer;
  }

  /** Does not keep a large chunk alive for the small statement in it. */
  private retainUnnamed(): void {
    const { unnamed } = this;
    if (unnamed === undefined || unnamed.bytes.length <= RETAINED_CHUNK_MAX) return;
    unnamed.bytes = Buffer.from(unnamed.bytes.subarray(unnamed.at, unnamed.end));
    unnamed.at = 0;
    unnamed.end = unnamed.bytes.length;
  }
}

const EMPTY = Buffer.alloc(0);
/** Of a DEALLOCATE or DISCARD whose meaning for prepared statements has been seen to. */
const CLEARING = effectsOf(MAY_CLEAR);
/** What a text does that is LISTEN, perhaps with UNLISTEN, and nothing else that matters. */
const LISTENS = effectsOf(reasonSet('listen'));
const LISTENS_AND_CLEARS = effectsOf(reasonSet('listen') | MAY_CLEAR);
/** Instead of where the next run of bytes begins. */
const WAIT = -1;
/** The same, and what was before the message has been emitted. */
const WAIT_FOR_CHECK = -2;
/** Instead of a name that the connection knows. */
const AWAITED = '';
const UNNAMED = Buffer.of(0);
const TOO_MANY_STATEMENTS = `more than ${CLIENT_STATEMENTS_MAX} prepared statements, or ${
  CLIENT_STATEMENT_BYTES_MAX / 2 ** 20
} MiB of them`;
const PREPARE_PASSING = Buffer.concat([
  closeStatementMessage(PASSING_NAME),
  parseMessage(PASSING_NAME, ''),
]);
const DEALLOCATE_PASSING = queryMessage(`DEALLOCATE ${PASSING_NAME}`);
const PREPARE_PASSING_REMOVAL = Buffer.concat([
  closeStatementMessage(PASSING_REMOVAL_NAME),
  parseMessage(PASSING_REMOVAL_NAME, `DEALLOCATE ${PASSING_NAME}`),
]);
/** The letter of a statement in Describe and Close. */
const STATEMENT = 0x53; // S

/** `pieces`, then `bytes[from, to)`. To cut a piece out of a chunk costs more than to copy it. */
function joined(pieces: readonly Buffer[], bytes: Buffer, from: number, to: number): Buffer {
  let length = to - from;
  for (const piece of pieces) length += piece.length;
  const whole = Buffer.allocUnsafe(length);
  let at = 0;
  for (const piece of pieces) at += piece.copy(whole, at);
  bytes.copy(whole, at, from, to);
  return whole;
}

/** Where the name at `at` ends, or -1. Most names are empty, and to find that out takes no call. */
function nameEndAt(bytes: Buffer, at: number): number {
  return bytes[at] === 0 ? at : bytes.indexOf(0, at);
}

function isListen(effects: Effects): boolean {
  return effects === LISTENS || effects === LISTENS_AND_CLEARS;
}

/** Discarded by a server that is not in COPY IN; Flush has nothing to flush without a connection. */
function isOnlyForCopy(type: number): boolean {
  return type === COPY_DATA || type === COPY_DONE || type === COPY_FAIL || type === FLUSH;
}
