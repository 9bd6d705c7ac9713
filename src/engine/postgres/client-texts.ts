/**
 * What the texts of one client do beside giving rows: they are read before they run, and the session is
 * told. That is also what later texts depend on, for a text may change how texts are read.
 */

import {
  type Effects,
  effectsOf,
  MAY_CLEAR,
  PLAIN,
  reasonSet,
} from '../../sql/postgres/effects.ts';
import { PlainTexts } from '../../sql/postgres/plain-texts.ts';
import { StatementScanner } from '../../sql/postgres/scanner.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { Outbox } from './outbox.ts';
import type { RelayHost } from './relay-host.ts';
import { mayNameStatements } from './statement/removal.ts';
import type { BoundParameters } from './wire/bound-parameters.ts';
import { HEADER_BYTES } from './wire/messages.ts';

/** One for the process: what a text does is the same for all. */
const PLAIN_TEXTS = new PlainTexts();
/** What a text does that is LISTEN, perhaps with UNLISTEN, and nothing else that matters. */
const LISTENS = effectsOf(reasonSet('listen'));
const LISTENS_AND_CLEARS = effectsOf(reasonSet('listen') | MAY_CLEAR);
const EMPTY = Buffer.alloc(0);

export class ClientTexts {
  /** What the client runs may take statements away, or make them, without a word of the protocol. */
  isWary = false;
  /** Texts have been read on this connection as they would not be read by another client. */
  isTainted = false;
  /** A text that is too large to be kept is read as it goes by. */
  isScanning = false;
  private scanner: StatementScanner | undefined = undefined;
  private readonly host: RelayHost;
  private readonly out: Outbox;

  constructor(host: RelayHost, out: Outbox) {
    this.host = host;
    this.out = out;
  }

  classify(bytes: Buffer, from: number, to: number): Effects {
    return PLAIN_TEXTS.classify(bytes, from, to, this.host.stringSyntax);
  }

  /**
   * A text with `effects` is about to run. `to` is the end of the message that they were read from; the
   * text may end before it.
   */
  apply(
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

  /** Whether the text between `from` and `to`, if it is LISTEN, can be sent: a hub listens, and all before is known. */
  mayRun(
    { ledger }: DatabaseConnection,
    effects: Effects,
    bytes: Buffer,
    from: number,
    to: number,
  ): boolean {
    if (!isListen(effects) || ledger.isSkipping) return true;
    const end = bytes.indexOf(0, from);
    const mayListen = this.host.mayListen(bytes.toString('latin1', from, Math.min(end, to)));
    if (!mayListen && ledger.isBatchOpen) this.out.isFlushDue = true;
    return mayListen;
  }

  /** The same for a statement that is about to be bound: the one in the Parse `bytes[at, end)`. */
  mayBind(
    connection: DatabaseConnection,
    effects: Effects,
    bytes: Buffer,
    at: number,
    end: number,
  ): boolean {
    if (!isListen(effects)) return true;
    return this.mayRun(connection, effects, bytes, textAt(bytes, at), end);
  }

  /** Tells who has to know what the client runs. */
  tellRunning(bytes: Buffer, from: number, to: number): void {
    const { host } = this;
    if (host.isListening) host.running(bytes.toString('latin1', from, to));
    if (host.isDebugLogged) host.sending(bytes.subarray(from, to));
  }

  /** The same of what it has bound: the statement in the Parse at `at`. */
  tellBound(parse: Buffer, at: number): void {
    if (!this.host.isListening && !this.host.isDebugLogged) return;
    const from = textAt(parse, at);
    this.tellRunning(parse, from, parse.indexOf(0, from));
  }

  /** Begins to read a text of which the rest comes later. What it does is known long before the connection is given back. */
  scanFrom(bytes: Buffer, from: number): void {
    this.scanner ??= new StatementScanner();
    this.scanner.reset(this.host.stringSyntax);
    this.scanner.push(bytes, from, bytes.length);
    if (this.host.isDebugLogged) this.host.sending(bytes.subarray(from));
    this.isScanning = true;
  }

  /** `bytes[0, to)` is more of it, or the rest, with its NUL. */
  scanMore(bytes: Buffer, to: number, isLast: boolean): void {
    this.scanner?.push(bytes, 0, isLast ? to - 1 : to);
    if (!isLast) return;
    this.isScanning = false;
    if (this.scanner !== undefined) this.apply(this.scanner.end(), EMPTY, 0, 0);
  }
}

/** Where the text begins in the Parse at `at`. */
function textAt(parse: Buffer, at: number): number {
  return parse.indexOf(0, at + HEADER_BYTES) + 1;
}

function isListen(effects: Effects): boolean {
  return effects === LISTENS || effects === LISTENS_AND_CLEARS;
}
