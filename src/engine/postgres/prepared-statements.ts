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
 *
 * A statement is also what it was described as when it was first prepared. Behind each Parse goes a
 * Describe; a connection that describes it otherwise, because the schema has changed, has something
 * else under its name: whoever knows the statement gets an error, as from a server
 * (`cached plan must not change result type`), and who prepares it now gets its successor.
 */

import { classify } from '../../sql/postgres/classify.ts';
import { type Effects, PLAIN } from '../../sql/postgres/effects.ts';
import type { StringSyntax } from '../../sql/postgres/scanner.ts';
import { recogniseNamed, type StatementRemoval } from '../../sql/postgres/statement-names.ts';
import {
  isSameDescription,
  NO_ROWS,
  type StatementDescription,
  UNKNOWN,
} from './statement-description.ts';
import { closeStatementMessage, describeStatementMessage } from './wire/frontend.ts';
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
/** A statement that takes it away. */
export const PASSING_REMOVAL_NAME = `${SERVER_NAME_PREFIX}00`;
/** Nobody's: an error, whatever is to be done with it. */
export const CHANGED_NAME = `${SERVER_NAME_PREFIX}!result_type_changed`;

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

/** Whether the text may be about prepared statements; which ones, it must be read for. */
export function mayNameStatements({ reasons, isForgetting }: Effects): boolean {
  return isForgetting || reasons.includes('sql_prepare');
}

/** What a text, `bytes[from, to)`, takes away when it is executed, if it is about nothing else. */
export function removalIn(
  effects: Effects,
  bytes: Buffer,
  from: number,
  to: number,
): StatementRemoval | undefined {
  if (effects === PLAIN || !mayNameStatements(effects)) return undefined;
  const named = recogniseNamed(bytes.toString('latin1', from, to));
  return named?.kind === 'execute' ? undefined : named;
}

/** The text of a Parse, with its NUL, that is to say `removal` in the database's names. */
export function removalText(removal: StatementRemoval): Buffer | undefined {
  if (removal.kind !== 'deallocate' || !removal.name.startsWith(SERVER_NAME_PREFIX))
    return undefined;
  return Buffer.from(`DEALLOCATE ${quoted(escapedName(removal.name))}\0`, 'latin1');
}

/** As an identifier in SQL. */
export function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A statement's text and parameter types, with the name that connections know it by. */
export class Statement {
  readonly serverName: string;
  /** The whole Parse message under `serverName`, with the types that the client gave. */
  readonly parse: Buffer;
  /** What the text does beside what `removal` says. */
  readonly effects: Effects;
  readonly removal: StatementRemoval | undefined;
  /** In the registry; `undefined` for a statement that is one client's alone. */
  readonly key: string | undefined;
  /** See `Reading`. */
  readonly variant: string;
  /** What comes after the name in a Parse. */
  readonly body: Buffer;
  private firstDescription: StatementDescription | undefined = undefined;
  private typedParse: Buffer | undefined = undefined;

  constructor(id: number, body: Buffer, made: StatementFacts) {
    this.serverName = `${SERVER_NAME_PREFIX}${id}`;
    this.parse = message(PARSE, cString(this.serverName), body);
    this.body = this.parse.subarray(this.parse.length - body.length);
    this.effects = made.effects;
    this.removal = made.removal;
    this.key = made.key;
    this.variant = made.variant;
  }

  get close(): Buffer {
    return closeStatementMessage(this.serverName);
  }

  get describe(): Buffer {
    return describeStatementMessage(this.serverName);
  }

  /** As it was when it was first prepared. */
  get description(): StatementDescription | undefined {
    return this.firstDescription;
  }

  /** It gives no rows, so none that could become others. */
  get hasNoRows(): boolean {
    return this.firstDescription?.rows === NO_ROWS;
  }

  /** A connection describes it so. Returns whether that is what it is. */
  isDescribed(description: StatementDescription): boolean {
    if (this.firstDescription !== undefined) {
      return isSameDescription(this.firstDescription, description);
    }
    this.firstDescription = description;
    const textEnd = this.body.indexOf(0) + 1;
    const { parameterTypes } = description;
    if (!this.body.subarray(textEnd).equals(parameterTypes)) {
      const text = this.body.subarray(0, textEnd);
      this.typedParse = message(PARSE, cString(this.serverName), text, parameterTypes);
    }
    return true;
  }

  /** What it was when it was first prepared will never be known, so it is not what it was. */
  describeAsUnknown(): void {
    this.firstDescription = UNKNOWN;
  }

  /** Parse with the types that its parameters had at first, which a server keeps too. */
  get parseAgain(): Buffer {
    return this.typedParse ?? this.parse;
  }

  /** Another with the same text. */
  another(): Statement {
    return new Statement(++lastStatement, this.body, this);
  }
}

type StatementFacts = Pick<Statement, 'effects' | 'removal' | 'key' | 'variant'>;

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
        statement = this.old.get(key) ?? create(bytes, from, to, reading, key);
        this.remember(key, statement);
      }
      if (!isTaken(statement)) return statement;
    }
  }

  /**
   * `statement` is described otherwise than it was: the one that it is now, for whoever prepares it
   * from here on. One that `isTaken` is not returned.
   */
  succeed(
    statement: Statement,
    description: StatementDescription,
    isTaken: (statement: Statement) => boolean,
  ): Statement {
    const { key } = statement;
    const known = key === undefined ? undefined : (this.young.get(key) ?? this.old.get(key));
    if (known !== undefined && known !== statement && !isTaken(known)) {
      const { description: knownAs } = known;
      if (knownAs !== undefined && isSameDescription(knownAs, description)) return known;
    }
    const successor = statement.another();
    successor.isDescribed(description);
    if (key !== undefined && known !== undefined) this.remember(key, successor);
    return successor;
  }

  /**
   * `statement` for a client whose settings have changed since it was read: who shares it must not
   * meet it as this client would prepare it. It is to be what it was described as.
   */
  reread(
    statement: Statement,
    reading: Reading,
    isTaken: (statement: Statement) => boolean,
  ): Statement {
    const { body, description, effects, removal } = statement;
    const twin = this.intern(body, 0, body.length, reading, isTaken);
    if (description === undefined || twin.isDescribed(description)) return twin;
    const facts = { effects, removal, key: undefined, variant: reading.variant };
    const own = new Statement(++lastStatement, body, facts);
    own.isDescribed(description);
    return own;
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

/** The statement of a Parse that has `bytes[from, to)` after the name, for one client alone. */
export function privateStatement(
  bytes: Buffer,
  from: number,
  to: number,
  reading: Reading,
): Statement {
  return create(bytes, from, to, reading, undefined);
}

function create(
  bytes: Buffer,
  from: number,
  to: number,
  { syntax, variant }: Reading,
  key: string | undefined,
): Statement {
  const textEnd = bytes.indexOf(0, from);
  const effects = classify(bytes, from, textEnd, syntax);
  const removal = removalIn(effects, bytes, from, textEnd);
  const body = Buffer.from(bytes.subarray(from, to));
  const facts = { removal, key, variant };
  if (removal === undefined) return new Statement(++lastStatement, body, { ...facts, effects });
  const text = removalText(removal);
  const types = bytes.subarray(textEnd + 1, to);
  const changed = text === undefined ? body : Buffer.concat([text, types]);
  return new Statement(++lastStatement, changed, { ...facts, effects: PLAIN });
}

type Names = Map<string, Statement>;

/** A change whose reply is owed. */
type NameChange =
  | { readonly batch: number; readonly name: string; before: Statement | undefined }
  /** All names went at once. */
  | { readonly batch: number; readonly all: Names };

/** Errors that are still to come may name that many statements which others have succeeded. */
const FORMER_NAMES_MAX = 100;

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
  /** The client's names for what `replace` has replaced, by the name of the database. */
  private readonly former = new Map<string, string>();

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
    return this.pendingNameOf(isIt) ?? this.former.get(serverName);
  }

  /** What the client has prepared as `statement` was `successor` all along. */
  replace(statement: Statement, successor: Statement): void {
    const name = this.names.get(statement);
    for (const change of this.pending) {
      if ('all' in change) {
        for (const [each, to] of change.all) if (to === statement) change.all.set(each, successor);
      } else if (change.before === statement) {
        change.before = successor;
      }
    }
    if (name === undefined) return;
    this.set(name, successor);
    if (this.former.size >= FORMER_NAMES_MAX) this.former.clear();
    this.former.set(statement.serverName, name);
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

/**
 * What is done with the answer to the Describe behind a Parse. `noted`: whoever sent the Parse gets the
 * statement as it is now. `awaited`: who has the statement already waits to hear that it still is what
 * it was. `none`: nothing was asked, or it has been answered.
 */
export type Check = 'none' | 'noted' | 'awaited';

/** A statement as a connection has it. */
interface Prepared {
  /** Of the schema that it was prepared in. */
  readonly generation: number;
  readonly batch: number;
  isConfirmed: boolean;
  /** It was read in another way than it would be now: closed and prepared anew before it is used. */
  isStale: boolean;
  check: Check;
  usedAt: number;
}

/** A connection has described a statement otherwise than it was. */
export interface Difference {
  readonly statement: Statement;
  readonly description: StatementDescription;
  /** Nobody had it yet: it was the client's own Parse that was answered so. */
  readonly isNew: boolean;
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
  /** Its Parse has been answered, and the Describe behind it is next. */
  private checked: { readonly statement: Statement; readonly made: Prepared } | undefined =
    undefined;
  /** What was awaited is not what it was. */
  private changed: Statement | undefined = undefined;
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
    if (entry === undefined || entry.check === 'awaited' || !this.isSure(entry)) return false;
    entry.usedAt = ++this.clock;
    return true;
  }

  /** Whether it has been sent, and it is not known yet whether it is what it was. */
  isAwaited(statement: Statement): boolean {
    const entry = this.entries.get(statement);
    return entry !== undefined && entry.check === 'awaited' && this.isSure(entry);
  }

  /** Whether it was awaited and is not what it was. True once. */
  takeChanged(statement: Statement): boolean {
    if (this.changed !== statement) return false;
    this.changed = undefined;
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

  parseSent(statement: Statement, check: Check = 'none'): void {
    const made: Prepared = {
      generation: this.schema.generation,
      batch: this.batch,
      isConfirmed: false,
      isStale: false,
      check,
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
    if (change === undefined || !('made' in change) || change.made === undefined) return;
    const { statement, made } = change;
    made.isConfirmed = true;
    if (made.check !== 'none') this.checked = { statement, made };
  }

  /** The Describe behind the Parse that was confirmed last is answered. */
  described(description: StatementDescription): Difference | undefined {
    if (this.checked === undefined) return undefined;
    const { statement, made } = this.checked;
    const isNew = made.check === 'noted';
    this.checked = undefined;
    made.check = 'none';
    if (statement.isDescribed(description)) return undefined;
    made.isStale = true;
    if (!isNew) this.changed = statement;
    return { statement, description, isNew };
  }

  /** An error came. What was to be described before it is not known to be what it was. */
  failed(): void {
    if (this.checked === undefined) return;
    const { statement, made } = this.checked;
    this.checked = undefined;
    // Without a description it is good only where it is.
    if (statement.description === undefined) statement.describeAsUnknown();
    else made.isStale = true;
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

  /**
   * The transaction, or the loan, is over. `isTainted`: texts were read in it in a way of its own
   * (SET LOCAL, temporary tables), so what was prepared in it is of no use to anybody else.
   */
  ended(isTainted: boolean): void {
    this.changed = undefined;
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
