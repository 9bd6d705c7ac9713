/**
 * Virtual prepared statements. A client's named statement is a name for an interned text with its
 * parameter types; which database connection has it prepared, and under which name, is the proxy's
 * business. So a client may be served by any connection, and clients with the same statement share
 * its plan.
 *
 * Three parts: the registry of texts, the names of one client, and what one connection has prepared.
 * The latter two are written when a message is sent and corrected when its reply says otherwise: a
 * message that fails, or is skipped after an error, has not happened.
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
/** Statements prepared on one connection; the least recently used go first. */
const CONNECTION_STATEMENTS_MAX = 200;

export const SERVER_NAME_PREFIX = 'berth_';

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
}

/** Never reused: a connection may still have an older text under an older number (PG-59). */
let lastStatement = 0;

/**
 * All statements by text, in two generations: what is used moves to the young one, and when that is
 * full the old one is dropped. A client that still has a dropped statement keeps it.
 */
export class StatementRegistry {
  private young = new Map<string, Statement>();
  private old = new Map<string, Statement>();
  private youngBytes = 0;

  /**
   * The statement whose Parse message has `bytes[from, to)` after the name: text, NUL, types.
   * `variant` is whatever else decides what the text means, such as the search path.
   */
  intern(
    bytes: Buffer,
    from: number,
    to: number,
    { variant, syntax }: { readonly variant: string; readonly syntax: StringSyntax },
  ): Statement {
    const key = `${syntax}\0${variant}\0${bytes.toString('latin1', from, to)}`;
    const known = this.young.get(key);
    if (known !== undefined) return known;
    const statement = this.old.get(key) ?? this.create(bytes, from, to, syntax);
    this.remember(key, statement);
    return statement;
  }

  /** The text means something else now (DDL): the next Parse of it makes a new statement. */
  retire(statement: Statement): void {
    for (const generation of [this.young, this.old]) {
      for (const [key, each] of generation) if (each === statement) generation.delete(key);
    }
  }

  private create(bytes: Buffer, from: number, to: number, syntax: StringSyntax): Statement {
    const textEnd = bytes.indexOf(0, from);
    return new Statement(
      ++lastStatement,
      Buffer.from(bytes.subarray(from, to)),
      classify(bytes, from, textEnd, syntax),
    );
  }

  private remember(key: string, statement: Statement): void {
    this.young.set(key, statement);
    // The key and the message, and about as much again for what holds them.
    this.youngBytes += 2 * (key.length + statement.parse.length);
    if (this.youngBytes < REGISTRY_BYTES_MAX / 2) return;
    this.old = this.young;
    this.young = new Map();
    this.youngBytes = 0;
  }
}

const NONE: readonly Statement[] = [];

/** What undoes a change. */
type Undo = () => void;

/** The named statements of one client. */
export class ClientStatements {
  private byName = new Map<string, Statement>();
  /** Changes whose replies are owed, in the order of the replies. */
  private readonly pending: Undo[] = [];

  get(name: string): Statement | undefined {
    return this.byName.get(name);
  }

  get size(): number {
    return this.byName.size;
  }

  /** The client's name for a statement, to put back into an error of the database. */
  nameOf(serverName: string): string | undefined {
    for (const [name, statement] of this.byName)
      if (statement.serverName === serverName) return name;
    return undefined;
  }

  /** A Parse or Close was sent. `undefined`: the name is gone. */
  change(name: string, to: Statement | undefined): void {
    const before = this.byName.get(name);
    this.pending.push(() => this.set(name, before));
    this.set(name, to);
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    const before = this.byName;
    this.pending.push(() => {
      this.byName = before;
    });
    this.byName = new Map();
  }

  /** The reply to the oldest change came. */
  confirm(): void {
    this.pending.shift();
  }

  /** The `count` oldest changes did not happen. */
  undo(count: number): void {
    for (const undo of this.pending.splice(0, count).reverse()) undo();
  }

  /** The database has forgotten them all, in a way that no text showed. */
  lose(): void {
    this.byName.clear();
  }

  private set(name: string, to: Statement | undefined): void {
    if (to === undefined) this.byName.delete(name);
    else this.byName.set(name, to);
  }
}

/** Goes up when a statement that changes the schema is seen; shared by all connections of a target. */
export interface SchemaGeneration {
  generation: number;
}

/** What one database connection has prepared, least recently used first. */
export class ConnectionStatements {
  private readonly schema: SchemaGeneration;
  /** With the generation of the schema that each was prepared in. */
  private prepared = new Map<Statement, number>();
  /** Prepared, but their rows have become others: closed and prepared anew before they are used. */
  private readonly stale = new Set<Statement>();
  private readonly pending: Undo[] = [];

  constructor(schema: SchemaGeneration) {
    this.schema = schema;
  }

  /** Whether the statement is there when everything sent so far has been done; marks it as used. */
  use(statement: Statement): boolean {
    const generation = this.prepared.get(statement);
    if (generation === undefined || this.stale.has(statement)) return false;
    this.prepared.delete(statement);
    this.prepared.set(statement, generation);
    return true;
  }

  /** Whether it is as if it were prepared now. */
  isFresh(statement: Statement): boolean {
    return this.prepared.get(statement) === this.schema.generation && !this.stale.has(statement);
  }

  /** Whether it must be closed before it can be prepared. */
  isThere(statement: Statement): boolean {
    return this.prepared.has(statement);
  }

  /** A statement's rows have become others; which statement's, the database does not say. */
  distrust(): void {
    for (const statement of this.prepared.keys()) this.stale.add(statement);
  }

  parseSent(statement: Statement): void {
    this.prepared.set(statement, this.schema.generation);
    this.pending.push(() => this.prepared.delete(statement));
  }

  closeSent(statement: Statement): void {
    const generation = this.prepared.get(statement) ?? 0;
    this.prepared.delete(statement);
    this.stale.delete(statement);
    this.pending.push(() => this.prepared.set(statement, generation));
  }

  confirm(): void {
    this.pending.shift();
  }

  /** The `count` oldest changes did not happen. */
  undo(count: number): void {
    for (const undo of this.pending.splice(0, count).reverse()) undo();
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    const before = this.prepared;
    this.pending.push(() => {
      this.prepared = before;
    });
    this.prepared = new Map();
  }

  /** What to close at the end of this batch, so that no more than the limit stays. */
  surplus(): readonly Statement[] {
    const surplus = this.prepared.size - CONNECTION_STATEMENTS_MAX;
    return surplus <= 0 ? NONE : [...this.prepared.keys()].slice(0, surplus);
  }

  /** The database has forgotten them all. */
  lose(): void {
    this.prepared.clear();
    this.stale.clear();
  }
}

export function closeMessage(statement: Statement): Buffer {
  return closeStatementMessage(statement.serverName);
}
