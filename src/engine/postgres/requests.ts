/**
 * What each message of a client means: notes in the ledger what it will be answered with, and tells the
 * session what is about to run. Most messages go to the database as they are; what is about a named
 * statement is translated (`statement/named-statements.ts`).
 *
 * Each method takes a message that begins at `bytes[at]`, and where the run of bytes begins that goes out
 * as it is (`from`). It returns where the next run begins, or `WAIT`.
 */

import { PLAIN } from '../../sql/postgres/effects.ts';
import type { ClientTexts } from './client-texts.ts';
import type { DatabaseConnection } from './database-connection.ts';
import {
  CHANGES_UNNAMED,
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
import type { Outbox } from './outbox.ts';
import { type RelayHost, WAIT } from './relay-host.ts';
import type { NamedStatements } from './statement/named-statements.ts';
import { mayNameStatements, removalIn, removalText } from './statement/removal.ts';
import {
  nextUnnamed,
  type UnnamedParse,
  type UnnamedStatement,
} from './statement/unnamed-statement.ts';
import { BoundParameters } from './wire/bound-parameters.ts';
import { CLOSE_UNNAMED_MESSAGE } from './wire/frontend.ts';
import {
  BIND,
  CLOSE,
  COPY_DONE,
  COPY_FAIL,
  DESCRIBE,
  EXECUTE,
  FUNCTION_CALL,
  HEADER_BYTES,
  message,
  PARSE,
  QUERY,
  SYNC,
} from './wire/messages.ts';

const EMPTY = Buffer.alloc(0);
const UNNAMED = Buffer.of(0);
/** The letter of a statement in Describe and Close. */
const STATEMENT = 0x53; // S

export class Requests {
  private readonly host: RelayHost;
  private readonly out: Outbox;
  private readonly texts: ClientTexts;
  private readonly named: NamedStatements;
  private readonly unnamed: UnnamedStatement;

  constructor(
    host: RelayHost,
    out: Outbox,
    texts: ClientTexts,
    named: NamedStatements,
    unnamed: UnnamedStatement,
  ) {
    this.host = host;
    this.out = out;
    this.texts = texts;
    this.named = named;
    this.unnamed = unnamed;
  }

  /**
   * A whole message goes to the database. Returns where the next run of bytes begins, or `WAIT` when
   * it cannot go yet; then nothing has been noted.
   */
  note(
    connection: DatabaseConnection,
    type: number,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
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
        if (this.named.hasRemovals) return this.named.execute(connection, bytes, from, at);
        this.host.requested();
        ledger.owe(OWES_EXECUTE);
        return from;
      case CLOSE:
        return this.close(connection, bytes, from, at, next);
      case SYNC:
        ledger.owe(OWES_SYNC);
        this.batchEnded(connection);
        return from;
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
    const effects = this.texts.classify(bytes, textAt, next - 1);
    let begin: number | undefined;
    if (effects !== PLAIN && mayNameStatements(effects) && !connection.ledger.isSkipping) {
      begin = this.named.query(connection, bytes, from, at, next);
      if (begin === WAIT) return WAIT;
    }
    if (!this.texts.mayRun(connection, effects, bytes, textAt, next)) return WAIT;
    this.host.requested();
    this.texts.tellRunning(bytes, textAt, next - 1);
    this.unnamed.set(connection, undefined);
    if (begin === undefined) {
      this.texts.apply(effects, bytes, textAt, next);
      connection.ledger.owe(OWES_QUERY);
    }
    this.batchEnded(connection);
    return begin ?? from;
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
      return this.named.parse(connection, name, bytes, from, { at, body: nameEnd + 1, next });
    }
    const effects = this.texts.classify(bytes, nameEnd + 1, textEnd);
    // While it waits for the first LISTEN of all, the connection can still be given back.
    if (!this.texts.mayRun(connection, effects, bytes, nameEnd + 1, next)) return WAIT;
    const id = nextUnnamed();
    const removal = removalIn(effects, bytes, nameEnd + 1, textEnd);
    const text = removal && removalText(removal);
    ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
    if (text !== undefined) {
      this.out.emit(bytes, from, at);
      const changed = message(PARSE, UNNAMED, text, bytes.subarray(textEnd + 1, next));
      const unnamed = { id, effects: PLAIN, removal, bytes: changed, at: 0, end: changed.length };
      this.unnamed.set(connection, unnamed);
      this.out.push(changed);
      return next;
    }
    const remaining = removal === undefined ? effects : PLAIN;
    this.unnamed.set(connection, { id, effects: remaining, removal, bytes, at, end: next });
    return from;
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
    if (nameEnd !== portalEnd + 1) {
      return this.named.bind(connection, bytes, from, at, { portalEnd, nameEnd, next });
    }
    const { parse } = this.unnamed;
    if (parse !== undefined) {
      const { effects, bytes: chunk, at: begin, end } = parse;
      if (!this.texts.mayBind(connection, effects, chunk, begin, end)) return WAIT;
    }
    const begin = this.beforeUnnamed(connection, bytes, from, at);
    if (parse !== undefined) {
      if (parse.effects !== PLAIN) this.applyUnnamed(parse, bytes, nameEnd + 1, next);
      this.texts.tellBound(parse.bytes, parse.at);
    }
    ledger.owe(OWES_BIND);
    const removal = parse?.removal;
    if (removal !== undefined || this.named.hasRemovals) {
      this.named.bindPortal(bytes.toString('latin1', at + HEADER_BYTES, portalEnd), removal);
    }
    return begin;
  }

  /** It is bound by the Bind in `bind`, whose formats and values begin at `from`. */
  private applyUnnamed(parse: UnnamedParse, bind: Buffer, from: number, to: number): void {
    const { effects, bytes, at, end } = parse;
    const parameters = new BoundParameters(bind, from, to);
    // Its name is the empty string.
    this.texts.apply(effects, bytes, at + HEADER_BYTES + 1, end, parameters);
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
    if (at + HEADER_BYTES + 1 === next - 1) {
      const begin = this.beforeUnnamed(connection, bytes, from, at);
      ledger.owe(OWES_DESCRIBE);
      return begin;
    }
    return this.named.describe(connection, bytes, from, at, next);
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
    const { parse } = this.unnamed;
    const wanted = parse?.id ?? 0;
    if (connection.unnamedStatement === wanted || connection.ledger.isSkipping) return from;
    this.out.emit(bytes, from, at);
    connection.unnamedStatement = wanted;
    if (parse === undefined) {
      connection.ledger.owe(OWES_CLOSE | OURS | CHANGES_UNNAMED);
      this.out.push(CLOSE_UNNAMED_MESSAGE);
    } else {
      const { bytes: chunk, at: begin, end } = parse;
      connection.ledger.owe(OWES_PARSE | OURS | CHANGES_UNNAMED);
      this.out.push(chunk.subarray(begin, end));
    }
    return at;
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
      if (this.named.hasRemovals) {
        this.named.closePortal(bytes.toString('latin1', nameAt, next - 1));
      }
      ledger.owe(OWES_CLOSE);
      return from;
    }
    if (nameAt >= next - 1) {
      this.unnamed.set(connection, undefined);
      ledger.owe(OWES_CLOSE | CHANGES_UNNAMED);
      return from;
    }
    return this.named.close(connection, bytes, from, at, next);
  }

  /** The beginning of a message that is too large to keep goes to the database; the rest follows. */
  noteLarge(
    connection: DatabaseConnection,
    type: number,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    switch (type) {
      case QUERY:
        this.host.requested();
        this.unnamed.set(connection, undefined);
        this.texts.scanFrom(bytes, at + HEADER_BYTES);
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
        // CopyData.
        return from;
    }
  }

  private parseLarge(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    if (!ledger.isSkipping && bytes[at + HEADER_BYTES] !== 0) {
      return this.named.parseLarge(connection, bytes, from, at, next);
    }
    // It cannot be kept, so it cannot be sent again to another connection.
    this.host.pin('large_statement', EMPTY);
    this.unnamed.set(connection, undefined);
    ledger.owe(OWES_PARSE | CHANGES_UNNAMED);
    return from;
  }

  private batchEnded(connection: DatabaseConnection): void {
    connection.statements.batchEnded();
    this.named.names.batchEnded();
  }
}

/** Where the name at `at` ends, or -1. Most names are empty, and to find that out takes no call. */
function nameEndAt(bytes: Buffer, at: number): number {
  return bytes[at] === 0 ? at : bytes.indexOf(0, at);
}
