/**
 * What one database connection has prepared by name. Like the names of a client (`ClientStatements`)
 * it is written when a message is sent, and corrected when its reply says otherwise.
 */

import { Fifo } from '../../../base/fifo.ts';
import type { StatementDescription } from './description.ts';
import type { Statement } from './statement.ts';

/** Statements prepared on one connection; the least recently used go first. */
export const CONNECTION_STATEMENTS_MAX = 200;

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
  private readonly pending = new Fifo<ConnectionChange>();
  /** How many of them are about a statement. */
  private readonly pendingOf = new Map<Statement, number>();
  /** How many of them are about all at once. */
  private pendingOfAll = 0;
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
    return this.entries.has(statement) || this.pendingOf.has(statement);
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
    this.changing(statement, made);
    this.entries.set(statement, made);
    this.recent.add(statement);
  }

  closeSent(statement: Statement): void {
    this.changing(statement, undefined);
    this.entries.delete(statement);
    this.recent.delete(statement);
  }

  private changing(statement: Statement, made: Prepared | undefined): void {
    this.pending.push({ statement, made, before: this.entries.get(statement) });
    this.pendingOf.set(statement, (this.pendingOf.get(statement) ?? 0) + 1);
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    this.pending.push({ all: this.entries });
    this.pendingOfAll++;
    this.entries = new Map();
  }

  /** The reply to the oldest change came. */
  confirm(): void {
    const change = this.pending.shift();
    if (change === undefined) return;
    this.pendingNoMore(change);
    if ('all' in change || change.made === undefined) return;
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
    // Without a description it is good only where it is. With one, it is for this client too what others
    // know it as, which is asked for again: nobody was told of anything else.
    if (statement.description === undefined) statement.describeAsUnknown();
    else made.isStale = true;
  }

  /** The `count` oldest changes did not happen; later ones, of other batches, still may. */
  undo(count: number): void {
    const undone = this.pending.take(count).reverse();
    for (const change of undone) this.pendingNoMore(change);
    for (const change of undone) {
      if ('all' in change) this.entries = change.all;
      else this.restore(change.statement, change.before);
    }
  }

  private pendingNoMore(change: ConnectionChange): void {
    if ('all' in change) {
      this.pendingOfAll--;
      return;
    }
    const { statement } = change;
    const left = (this.pendingOf.get(statement) ?? 0) - 1;
    if (left > 0) this.pendingOf.set(statement, left);
    else this.pendingOf.delete(statement);
  }

  private restore(statement: Statement, before: Prepared | undefined): void {
    if (this.isPending(statement)) {
      this.restorePending(statement, before);
      return;
    }
    setOrDelete(this.entries, statement, before);
    if (before === undefined) this.recent.delete(statement);
    else this.recent.add(statement);
  }

  /** What will become of it is decided by a later change. */
  private isPending(statement: Statement): boolean {
    return this.pendingOfAll > 0 || this.pendingOf.has(statement);
  }

  private restorePending(statement: Statement, before: Prepared | undefined): void {
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
