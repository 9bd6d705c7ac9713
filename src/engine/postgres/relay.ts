/**
 * From the client to the database: cuts what the client sends into messages, notes in the ledger what
 * each will be answered with, and forwards them, by reference and as one write per chunk. It knows
 * when a connection is needed; where one comes from is the session's business.
 *
 * A message that is not whole yet is kept back, so that a client that vanishes leaves no half request
 * in a database; only what is too large to keep streams through. Named statements are translated here
 * (`prepared-statements.ts`): the only messages that do not reach the database as the client wrote them.
 */

import { HOLD_LEDGER_FULL, HOLD_PEER_CONGESTED, type Stream } from '../../net/stream.ts';
import type { PinReason } from '../../observe/reasons.ts';
import { classify } from '../../sql/postgres/classify.ts';
import { type Effects, PLAIN } from '../../sql/postgres/effects.ts';
import { StatementScanner, type StringSyntax } from '../../sql/postgres/scanner.ts';
import { type NamedStatement, recogniseNamed } from '../../sql/postgres/statement-names.ts';
import type { DatabaseConnection } from './database-connection.ts';
import {
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  CHANGES_UNNAMED,
  INSERTED,
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
  CLIENT_STATEMENTS_MAX,
  ClientStatements,
  closeMessage,
  SERVER_NAME_PREFIX,
  type Statement,
  type StatementRegistry,
} from './prepared-statements.ts';
import {
  CLOSE_UNNAMED_MESSAGE,
  describeStatementMessage,
  lengthMaxOf,
  parseHeader,
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
  terminated(): void;
  violated(what: string): void;
  /** Something happened that ties the session to its connection. `text` is the statement. */
  pin(reason: PinReason, text: Uint8Array): void;
  requested(): void;
  /** How the database reads string constants. */
  readonly stringSyntax: StringSyntax;
  /** A Sync ended the skipping that `Relay.skip` began. */
  skipped(): void;
}

/** The last Parse of the unnamed statement: where it lies, and its number. */
interface UnnamedStatement {
  readonly id: number;
  bytes: Buffer;
  at: number;
  end: number;
}

let lastUnnamedStatement = 0;

export class Relay {
  connection: DatabaseConnection | undefined = undefined;
  private readonly host: RelayHost;
  private readonly stream: Stream;
  private readonly registry: StatementRegistry;
  /** What decides the meaning of a text beside the text; see `StatementRegistry.intern`. */
  private readonly variant: string;
  private named: ClientStatements | undefined = undefined;
  private unnamed: UnnamedStatement | undefined = undefined;
  /** Named statements that the database knows by the client's own name, on the pinned connection. */
  private hasRawStatements = false;
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

  /** The session is done with its connection. */
  detach(): void {
    this.connection = undefined;
    this.out = [];
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
    while (at < end) {
      if (end - at < HEADER_BYTES) {
        this.keepPiece(bytes, at, HEADER_BYTES);
        break;
      }
      const type = bytes[at];
      const length = lengthAt(bytes, at);
      if (length < 4 || length > lengthMaxOf(type)) {
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
      if (isWhole || type === BIND) from = this.note(type, bytes, from, at, next);
      else this.noteLarge(type, bytes, at);
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

  /** A whole message goes to the database. Returns where the next run of bytes begins. */
  private note(type: number, bytes: Buffer, from: number, at: number, next: number): number {
    const { connection } = this;
    if (connection === undefined) return from;
    const { ledger } = connection;
    switch (type) {
      case QUERY:
        this.host.requested();
        this.setUnnamed(connection, undefined);
        return this.query(connection, bytes, from, at, next);
      case PARSE:
        return this.parse(connection, bytes, from, at, next);
      case BIND:
        return this.bind(connection, bytes, from, at, next);
      case DESCRIBE:
        return this.describe(connection, bytes, from, at, next);
      case EXECUTE:
        this.host.requested();
        ledger.owe(OWES_EXECUTE);
        return from;
      case CLOSE:
        return this.close(connection, bytes, from, at, next);
      case SYNC:
        return this.sync(connection, bytes, from, at);
      case FUNCTION_CALL:
        this.host.requested();
        ledger.owe(OWES_FUNCTION_CALL);
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
    if (effects !== PLAIN && mayNameStatements(effects) && !connection.ledger.isSkipping) {
      const named = recogniseNamed(bytes.toString('latin1', textAt, next - 1));
      const begin = named && this.queryNamed(connection, named, bytes, from, at, next);
      if (begin !== undefined) return begin;
    }
    this.apply(effects, bytes, textAt, next);
    connection.ledger.owe(OWES_QUERY);
    return from;
  }

  /**
   * A simple query about statements that the protocol prepared, in the names of the database. Returns
   * where the next run of bytes begins; `undefined` when it is about others, and goes as it is.
   */
  private queryNamed(
    connection: DatabaseConnection,
    named: NamedStatement,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number | undefined {
    const { ledger, statements } = connection;
    this.named ??= new ClientStatements();
    switch (named.kind) {
      case 'deallocate_all':
      case 'discard_all':
        // What it clears beside statements is seen in its reply.
        this.named.clear();
        statements.clear();
        ledger.owe(OWES_QUERY | CHANGES_CLIENT | CHANGES_CONNECTION);
        return from;
      case 'deallocate':
        if (this.named.get(named.name) === undefined) return undefined;
        this.emit(bytes, from, at);
        this.named.change(named.name, undefined);
        ledger.owe(OWES_QUERY | INSERTED | CHANGES_CLIENT);
        return next;
      case 'execute': {
        const statement = this.named.get(named.name);
        if (statement === undefined) return undefined;
        this.emit(bytes, from, at);
        this.apply(statement.effects, bytes, at + HEADER_BYTES, next);
        this.ensureAlone(connection, statement);
        ledger.owe(OWES_QUERY);
        this.out.push(queryMessage(`EXECUTE ${statement.serverName}${named.rest}`, 'latin1'));
        return next;
      }
      default:
        return named satisfies never;
    }
  }

  /** Like `ensure`, before a simple query: in a batch of its own, which may fail by itself. */
  private ensureAlone(connection: DatabaseConnection, statement: Statement): void {
    if (connection.statements.use(statement)) return;
    this.ensure(connection, statement);
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
    const nameEnd = bytes.indexOf(0, at + HEADER_BYTES);
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
    this.setUnnamed(connection, { id: ++lastUnnamedStatement, bytes, at, end: next });
    this.apply(this.classify(bytes, nameEnd + 1, textEnd), bytes, nameEnd + 1, next);
    ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
    return from;
  }

  private parseNamed(
    connection: DatabaseConnection,
    name: string,
    bytes: Buffer,
    from: number,
    { at, body, next }: { readonly at: number; readonly body: number; readonly next: number },
  ): number {
    this.named ??= new ClientStatements();
    const existing = this.named.get(name);
    this.emit(bytes, from, at);
    if (existing !== undefined) {
      // The database refuses the name that it already has (42P05), in its place in the stream.
      this.ensure(connection, existing);
      connection.ledger.owe(OWES_PARSE);
      this.out.push(parseHeader(existing.serverName, next - body), bytes.subarray(body, next));
      return next;
    }
    if (this.named.size >= CLIENT_STATEMENTS_MAX) {
      this.host.violated(`more than ${CLIENT_STATEMENTS_MAX} prepared statements`);
      return next;
    }
    const statement = this.registry.intern(bytes, body, next, {
      variant: this.variant,
      syntax: this.host.stringSyntax,
    });
    this.apply(statement.effects, bytes, body, next);
    this.named.change(name, statement);
    this.prepareForClient(connection, statement);
    return next;
  }

  /** The client's own Parse of `statement`, answered by the database or, where that is safe, by us. */
  private prepareForClient(connection: DatabaseConnection, statement: Statement): void {
    const { ledger, statements } = connection;
    if (statements.isFresh(statement) && ledger.isSureNotFailed) {
      statements.use(statement);
      ledger.owe(OWES_PARSE | INSERTED | CHANGES_CLIENT);
      return;
    }
    // In a failed transaction Parse is refused, so the database has to be asked; and the schema may
    // have changed, in which case the client gets the statement as it would be now.
    if (statements.isThere(statement)) this.closeOnServer(connection, statement);
    statements.parseSent(statement);
    ledger.owe(OWES_PARSE | CHANGES_CLIENT | CHANGES_CONNECTION);
    this.out.push(statement.parse);
  }

  /** Makes sure that the connection has `statement` when what is sent next arrives. */
  private ensure(connection: DatabaseConnection, statement: Statement): void {
    if (connection.statements.use(statement)) return;
    if (connection.statements.isThere(statement)) this.closeOnServer(connection, statement);
    connection.statements.parseSent(statement);
    connection.ledger.owe(OWES_PARSE | OURS | CHANGES_CONNECTION);
    this.out.push(statement.parse);
  }

  private closeOnServer(connection: DatabaseConnection, statement: Statement): void {
    connection.statements.closeSent(statement);
    connection.ledger.owe(OWES_CLOSE | OURS | CHANGES_CONNECTION);
    this.out.push(closeMessage(statement));
  }

  private bind(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const portalEnd = bytes.indexOf(0, at + HEADER_BYTES);
    const nameEnd = portalEnd < 0 ? -1 : bytes.indexOf(0, portalEnd + 1);
    if (nameEnd < 0 || nameEnd >= next || ledger.isSkipping) {
      ledger.owe(OWES_BIND);
      return from;
    }
    if (nameEnd === portalEnd + 1) {
      const begin = this.beforeUnnamed(connection, bytes, from, at);
      ledger.owe(OWES_BIND);
      return begin;
    }
    const serverName = this.serverName(connection, bytes, from, at, portalEnd + 1, nameEnd);
    ledger.owe(OWES_BIND);
    if (serverName === undefined) return from;
    const portal = bytes.subarray(at + HEADER_BYTES, portalEnd + 1);
    this.out.push(renamedBindHeader(portal, serverName, next - nameEnd - 1));
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
    const serverName = this.serverName(connection, bytes, from, at, nameAt, next - 1);
    ledger.owe(OWES_DESCRIBE);
    if (serverName === undefined) return from;
    this.out.push(describeStatementMessage(serverName));
    return next;
  }

  /**
   * The name by which the connection knows the client's statement `bytes[nameAt, nameEnd)`, which it
   * has by then; the bytes up to `at` have been emitted. `undefined`: the name goes as it is.
   */
  private serverName(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    nameAt: number,
    nameEnd: number,
  ): string | undefined {
    const name = bytes.toString('latin1', nameAt, nameEnd);
    const statement = this.named?.get(name);
    if (statement === undefined) {
      // Nobody else's statement, whatever the client calls it.
      if (!name.startsWith(SERVER_NAME_PREFIX)) return undefined;
      this.emit(bytes, from, at);
      return `_${name}`;
    }
    this.emit(bytes, from, at);
    this.ensure(connection, statement);
    return statement.serverName;
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
    if (bytes[at + HEADER_BYTES] !== STATEMENT || ledger.isSkipping || this.hasRawStatements) {
      ledger.owe(OWES_CLOSE);
      return from;
    }
    if (nameAt >= next - 1) {
      this.setUnnamed(connection, undefined);
      ledger.owe(OWES_CLOSE | CHANGES_UNNAMED);
      return from;
    }
    // The connection keeps the statement; to close one that does not exist is no error either.
    this.named ??= new ClientStatements();
    this.named.change(bytes.toString('latin1', nameAt, next - 1), undefined);
    this.emit(bytes, from, at);
    ledger.owe(OWES_CLOSE | INSERTED | CHANGES_CLIENT);
    return next;
  }

  private sync(connection: DatabaseConnection, bytes: Buffer, from: number, at: number): number {
    const surplus = connection.statements.surplus();
    if (surplus.length > 0 && !connection.ledger.isSkipping) {
      // No message of this batch comes after this that could still need them.
      this.emit(bytes, from, at);
      for (const statement of surplus) this.closeOnServer(connection, statement);
      connection.ledger.owe(OWES_SYNC);
      return at;
    }
    connection.ledger.owe(OWES_SYNC);
    return from;
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
  private noteLarge(type: number, bytes: Buffer, at: number): void {
    const { connection } = this;
    if (connection === undefined) return;
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
        return;
      case PARSE:
        // It cannot be kept, so it cannot be sent again to another connection.
        this.host.pin('large_statement', EMPTY);
        this.hasRawStatements = true;
        this.setUnnamed(connection, undefined);
        ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
        return;
      case FUNCTION_CALL:
        this.host.requested();
        ledger.owe(OWES_FUNCTION_CALL);
        return;
      default:
      // CopyData. What a large Bind means is in its first bytes: `note` sees to it.
    }
  }

  private scanned(): void {
    this.isScanning = false;
    const [reason] = this.scanner?.end().reasons ?? [];
    if (reason !== undefined) this.host.pin(reason, EMPTY);
  }

  private classify(bytes: Buffer, from: number, to: number): Effects {
    return classify(bytes, from, to, this.host.stringSyntax);
  }

  /** `to` is the end of the message that `effects` were read from; the text may end before it. */
  private apply(effects: Effects, bytes: Buffer, from: number, to: number): void {
    if (effects === PLAIN) return;
    const [reason] = effects.reasons;
    if (reason === undefined) return;
    const end = bytes.indexOf(0, from);
    this.host.pin(reason, bytes.subarray(from, end < 0 ? to : Math.min(end, to)));
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
    this.unnamed = undefined;
    this.hasRawStatements = false;
  }

  unnamedLost(): void {
    this.unnamed = undefined;
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
    if (out.length === 0) {
      const isWhole = from === 0 && to === bytes.length;
      // Nobody else has a chunk that goes out as it came in, but for the unnamed statement.
      if (isWhole && this.unnamed?.bytes !== bytes) stream.give(bytes);
      else if (to > from) stream.write(bytes.subarray(from, to));
    } else {
      if (to > from) out.push(bytes.subarray(from, to));
      this.out = [];
      stream.write(Buffer.concat(out));
    }
    connection.tellInserted();
    if (stream.isCongested) this.stream.hold(HOLD_PEER_CONGESTED);
    if (connection.ledger.depth > PIPELINE_MAX) this.stream.hold(HOLD_LEDGER_FULL);
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
/** The letter of a statement in Describe and Close. */
const STATEMENT = 0x53; // S

/** Whether the text may be about prepared statements; which ones, it must be read for. */
function mayNameStatements({ reasons }: Effects): boolean {
  return reasons.includes('sql_prepare') || reasons.includes('discard');
}

/** Discarded by a server that is not in COPY IN; Flush has nothing to flush without a connection. */
function isOnlyForCopy(type: number): boolean {
  return type === COPY_DATA || type === COPY_DONE || type === COPY_FAIL || type === FLUSH;
}
