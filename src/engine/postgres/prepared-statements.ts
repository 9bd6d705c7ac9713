/**
 * Virtual prepared statements. A client's named statement is a name for an interned text with its
 * parameter types; which database connection has it prepared, and under which name, is the proxy's
 * business. So a client may be served by any connection, and clients with the same statement share
 * its plan.
 *
 * Three parts: the registry of texts, the names of one client, and what one connection has prepared.
 * The latter two are written when a message is sent and corrected when its reply says otherwise: a
 * message that fails, or is skipped after an error, has not happened. Within a batch what was written
 * is what later messages find, for those after an error are skipped; what an earlier batch has
 * changed is sure only when its reply has come.
 */

import { classify } from '../../sql/postgres/classify.ts';
import type { Effects } from '../../sql/postgres/effects.ts';
import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import { closeStatementMessage } from './wire/frontend.ts';
import { cString, message, PARSE } from './wire/messages.ts';

/** Texts that nobody uses any more are forgotten beyond this many bytes, oldest first. */
const REGISTRY_BYTES_MAX = 32 * 1024 * 1024;
/** A client that makes more statements than this is told so, as a server without memory would. */
export const CLIENT_STATEMENTS_MAX = 10_000;
/** The same for the bytes of their texts. */
export const CLIENT_STATEMENT_BYTES_MAX = 64 * 1024 * 1024;
/** Statements prepared on one connection; the least recently used go first. */
export const CONNECTION_STATEMENTS_MAX = 200;
/** In a longer pipeline of changes it is not looked up which name is meant. */
const PENDING_SEARCHED_MAX = 64;

/** Names on connections begin with it; a client's own that do are escaped (`escapedName`). */
export const SERVER_NAME_PREFIX = 'berth_';
const ESCAPE = `${SERVER_NAME_PREFIX}~`;
/** A statement that comes and goes, for DEALLOCATE of one that is only a name. */
export const PASSING_NAME = `${SERVER_NAME_PREFIX}0`;

/** What the database is told instead of a client's `name` that must not meet one of ours. */
export function escapedName(name: string): string {
  return ESCAPE + name;
}

/** Not within a longer name of a client's. */
const SERVER_NAME = new RegExp(`(?<![\\w ])${SERVER_NAME_PREFIX}(?:~|\\d+(?!\\w))`);

/** `text` of the database with a statement's name as its client knows it. */
export function inClientsWords(
  text: string,
  nameOf: (serverName: string) => string | undefined,
): string | undefined {
  const found = SERVER_NAME.exec(text);
  if (found === null) return undefined;
  const [serverName] = found;
  const name = serverName === ESCAPE ? '' : nameOf(serverName);
  if (name === undefined) return undefined;
  return text.slice(0, found.index) + name + text.slice(found.index + serverName.length);
}

/** A statement's text and parameter types, with the name that connections know it by. */
export class Statement {
  readonly serverName: string;
  /** The whole Parse message under `serverName`. */
  readonly parse: Buffer;
  readonly effects: Effects;

  constructor(id: number, body: Buffer, effects: Effects) {
    this.serverName = `${SERVER_NAME_PREFIX}${id}`;
    this.parse = message(PARSE, cString(this.serverName), body);
    this.effects = effects;
  }

  get close(): Buffer {
    return closeStatementMessage(this.serverName);
  }
}

/** Never reused: a connection may still have an older text under an older number (PG-59). */
let lastStatement = 0;

/** What decides the meaning of a text beside the text. */
export interface Reading {
  /** The settings under which it is read. */
  readonly variant: string;
  readonly syntax: StringSyntax;
}

/**
 * All statements by text, in two generations: what is used moves to the young one, and when that is
 * full the old one is dropped. A client that still has a dropped statement keeps it.
 */
export class StatementRegistry {
  private young = new Map<string, Statement>();
  private old = new Map<string, Statement>();
  private youngBytes = 0;
  private readonly bytesMax: number;

  constructor(bytesMax = REGISTRY_BYTES_MAX) {
    this.bytesMax = bytesMax;
  }

  /**
   * The statement whose Parse message has `bytes[from, to)` after the name: text, NUL, types. One
   * that `isTaken` is passed over for another of the same text.
   */
  intern(
    bytes: Buffer,
    from: number,
    to: number,
    reading: Reading,
    isTaken: (statement: Statement) => boolean,
  ): Statement {
    const body = bytes.toString('latin1', from, to);
    for (let twin = 0; ; twin++) {
      const key = `${twin}${reading.syntax}\0${reading.variant}\0${body}`;
      let statement = this.young.get(key);
      if (statement === undefined) {
        statement = this.old.get(key) ?? create(bytes, from, to, reading.syntax);
        this.remember(key, statement);
      }
      if (!isTaken(statement)) return statement;
    }
  }

  private remember(key: string, statement: Statement): void {
    this.young.set(key, statement);
    // The key and the message, and about as much again for what holds them.
    this.youngBytes += 2 * (key.length + statement.parse.length);
    if (this.youngBytes < this.bytesMax / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }
}

function create(bytes: Buffer, from: number, to: number, syntax: StringSyntax): Statement {
  const effects = classify(bytes, from, bytes.indexOf(0, from), syntax);
  return new Statement(++lastStatement, Buffer.from(bytes.subarray(from, to)), effects);
}

type Names = Map<string, Statement>;

/** A change whose reply is owed. */
type NameChange =
  | { readonly batch: number; readonly name: string; readonly before: Statement | undefined }
  /** All names went at once. */
  | { readonly batch: number; readonly all: Names };

/**
 * The named statements of one client. No two names stand for one statement, so that an error about a
 * statement can be put in the client's words.
 */
export class ClientStatements {
  private byName: Names = new Map();
  private names = new Map<Statement, string>();
  private bytes = 0;
  private batch = 0;
  /** In the order of the replies. */
  private readonly pending: NameChange[] = [];

  get(name: string): Statement | undefined {
    return this.byName.get(name);
  }

  get isFull(): boolean {
    return this.byName.size >= CLIENT_STATEMENTS_MAX || this.bytes >= CLIENT_STATEMENT_BYTES_MAX;
  }

  get hasPending(): boolean {
    return this.pending.length > 0;
  }

  /** Has a name, or may get it back. */
  isNamed(statement: Statement): boolean {
    return (
      this.names.has(statement) || this.pendingNameOf((each) => each === statement) !== undefined
    );
  }

  /** The client's name for a statement, to put back into an error of the database. */
  nameOf(serverName: string): string | undefined {
    const isIt = (statement: Statement) => statement.serverName === serverName;
    for (const [name, statement] of this.byName) if (isIt(statement)) return name;
    return this.pendingNameOf(isIt);
  }

  /** The name that a statement had before a change that may not have happened yet. */
  private pendingNameOf(isIt: (statement: Statement) => boolean): string | undefined {
    for (const change of this.pending) {
      if ('all' in change) {
        for (const [name, statement] of change.all) if (isIt(statement)) return name;
      } else if (change.before !== undefined && isIt(change.before)) {
        return change.name;
      }
    }
    return undefined;
  }

  /** A Sync or a simple query was sent. */
  batchEnded(): void {
    this.batch++;
  }

  /**
   * Whether it depends on replies that have not come what `name` stands for; `undefined`: any name.
   * What the present batch has changed is sure for whatever comes later in it.
   */
  isUncertain(name: string | undefined): boolean {
    const { batch, pending } = this;
    if (pending.length === 0 || pending[0].batch === batch) return false;
    if (name === undefined || pending.length > PENDING_SEARCHED_MAX) return true;
    return pending.some((each) => each.batch !== batch && ('all' in each || each.name === name));
  }

  /** A Parse or Close was sent. `undefined`: the name is gone. */
  change(name: string, to: Statement | undefined): void {
    this.pending.push({ batch: this.batch, name, before: this.byName.get(name) });
    this.set(name, to);
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    this.pending.push({ batch: this.batch, all: this.byName });
    this.setAll(new Map());
  }

  /** The reply to the oldest change came. */
  confirm(): void {
    this.pending.shift();
  }

  /** The `count` oldest changes did not happen. */
  undo(count: number): void {
    for (const change of this.pending.splice(0, count).reverse()) {
      if ('all' in change) this.setAll(change.all);
      else this.set(change.name, change.before);
    }
  }

  /** The database has forgotten them all, in a way that no text showed. */
  lose(): void {
    this.setAll(new Map());
  }

  private set(name: string, to: Statement | undefined): void {
    const before = this.byName.get(name);
    if (before !== undefined) {
      this.byName.delete(name);
      this.names.delete(before);
      this.bytes -= before.parse.length;
    }
    if (to === undefined) return;
    this.byName.set(name, to);
    this.names.set(to, name);
    this.bytes += to.parse.length;
  }

  private setAll(byName: Names): void {
    this.byName = byName;
    this.names = new Map([...byName].map(([name, statement]) => [statement, name]));
    this.bytes = [...byName.values()].reduce((sum, { parse }) => sum + parse.length, 0);
  }
}

/** Goes up when a statement that changes the schema is seen; shared by all connections of a target. */
export interface SchemaGeneration {
  generation: number;
}

/** A statement as a connection has it. */
interface Prepared {
  /** Of the schema that it was prepared in. */
  readonly generation: number;
  readonly batch: number;
  isConfirmed: boolean;
  /** It was read in another way than it would be now: closed and prepared anew before it is used. */
  isStale: boolean;
  usedAt: number;
}

type Entries = Map<Statement, Prepared>;

type ConnectionChange =
  | {
      readonly statement: Statement;
      readonly made: Prepared | undefined;
      before: Prepared | undefined;
    }
  | { readonly all: Entries };

/** What one database connection has prepared. */
export class ConnectionStatements {
  private readonly schema: SchemaGeneration;
  private entries: Entries = new Map();
  /** In the order of the replies. */
  private readonly pending: ConnectionChange[] = [];
  /** Prepared in the transaction that is under way, or in this loan of the connection. */
  private readonly recent = new Set<Statement>();
  private batch = 0;
  private clock = 0;

  constructor(schema: SchemaGeneration) {
    this.schema = schema;
  }

  get size(): number {
    return this.entries.size;
  }

  /** Whether the statement is there for sure when what is sent now arrives; marks it as used. */
  use(statement: Statement): boolean {
    const entry = this.entries.get(statement);
    if (entry === undefined || !this.isSure(entry)) return false;
    entry.usedAt = ++this.clock;
    return true;
  }

  private isSure(entry: Prepared): boolean {
    return !entry.isStale && (entry.isConfirmed || entry.batch === this.batch);
  }

  /** Whether it is as if it were prepared now. */
  isFresh(statement: Statement): boolean {
    const entry = this.entries.get(statement);
    return entry !== undefined && this.isSure(entry) && entry.generation === this.schema.generation;
  }

  /** Whether it must be closed before it can be prepared. To close one that is not there is no error. */
  mayBeThere(statement: Statement): boolean {
    if (this.entries.has(statement)) return true;
    return this.pending.some((change) => 'statement' in change && change.statement === statement);
  }

  /** What must go before another can come. */
  get surplus(): Statement | undefined {
    if (this.entries.size < CONNECTION_STATEMENTS_MAX) return undefined;
    let oldest: Statement | undefined;
    let oldestUse = Number.POSITIVE_INFINITY;
    for (const [statement, { usedAt }] of this.entries) {
      if (usedAt >= oldestUse) continue;
      oldest = statement;
      oldestUse = usedAt;
    }
    return oldest;
  }

  /** A Sync or a simple query was sent. */
  batchEnded(): void {
    this.batch++;
  }

  parseSent(statement: Statement): void {
    const made: Prepared = {
      generation: this.schema.generation,
      batch: this.batch,
      isConfirmed: false,
      isStale: false,
      usedAt: ++this.clock,
    };
    this.pending.push({ statement, made, before: this.entries.get(statement) });
    this.entries.set(statement, made);
    this.recent.add(statement);
  }

  closeSent(statement: Statement): void {
    this.pending.push({ statement, made: undefined, before: this.entries.get(statement) });
    this.entries.delete(statement);
    this.recent.delete(statement);
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    this.pending.push({ all: this.entries });
    this.entries = new Map();
  }

  /** The reply to the oldest change came. */
  confirm(): void {
    const change = this.pending.shift();
    if (change !== undefined && 'made' in change && change.made !== undefined) {
      change.made.isConfirmed = true;
    }
  }

  /** The `count` oldest changes did not happen; later ones, of other batches, still may. */
  undo(count: number): void {
    for (const change of this.pending.splice(0, count).reverse()) {
      if ('all' in change) this.entries = change.all;
      else this.restore(change.statement, change.before);
    }
  }

  private restore(statement: Statement, before: Prepared | undefined): void {
    for (const later of this.pending) {
      if ('all' in later) {
        // All went at once since; this is among what comes back if that does not happen either.
        setOrDelete(later.all, statement, before);
        return;
      }
      if (later.statement !== statement) continue;
      later.before = before;
      return;
    }
    setOrDelete(this.entries, statement, before);
    if (before === undefined) this.recent.delete(statement);
    else this.recent.add(statement);
  }

  /** Its rows have become others; which statement's, the database does not say. */
  distrust(): void {
    for (const entry of this.entries.values()) entry.isStale = true;
  }

  /**
   * The transaction, or the loan, is over. `isTainted`: texts were read in it in a way of its own
   * (SET LOCAL, temporary tables), so what was prepared in it is of no use to anybody else.
   */
  ended(isTainted: boolean): void {
    if (this.recent.size === 0) return;
    if (isTainted) for (const statement of this.recent) this.spoil(statement);
    this.recent.clear();
  }

  private spoil(statement: Statement): void {
    const entry = this.entries.get(statement);
    if (entry !== undefined) entry.isStale = true;
  }

  /** The database has forgotten them all. */
  lose(): void {
    this.entries.clear();
    this.recent.clear();
    for (const change of this.pending) {
      if ('all' in change) change.all.clear();
      else change.before = undefined;
    }
  }
}

function setOrDelete(entries: Entries, statement: Statement, to: Prepared | undefined): void {
  if (to === undefined) entries.delete(statement);
  else entries.set(statement, to);
}
