/**
 * What one database connection has prepared, and which answers to commands about it are owed.
 *
 * A connection keeps the statements that were used last. What is to go is closed with whatever is written
 * next: COM_STMT_CLOSE has no answer, so it costs no round trip.
 */

import { SERVER_STATUS_CURSOR_EXISTS, SERVER_STATUS_LAST_ROW_SENT } from '../wire/capabilities.ts';
import { closeMessages } from '../wire/statement-commands.ts';
import type { ClientStatement, ClientStatements } from './client-statements.ts';
import type { Statement } from './statement.ts';

/**
 * Statements prepared on one connection; the least recently used go first. All connections of a server
 * share its `max_prepared_stmt_count`, which is 16382 if nobody has set it.
 */
export const CONNECTION_STATEMENTS_MAX = 100;
/** The same for the bytes of their texts: the server keeps about as much, and more for their plans. */
export const CONNECTION_STATEMENT_BYTES_MAX = 8 * 1024 * 1024;

/** A statement as a connection has it. */
export interface Prepared {
  readonly statement: Statement;
  /** The database's. */
  readonly id: number;
  /** With which it was executed last. */
  types: Buffer | undefined;
  /** It was executed with a cursor. */
  hadCursor: boolean;
  usedAt: number;
}

/** What to do when an answer has come. */
type Note =
  | {
      readonly kind: 'prepare';
      readonly statement: Statement;
      /** Whoever gets the answer; absent when the proxy asked for itself. */
      readonly client: ClientStatement | undefined;
      readonly owner: ClientStatements;
    }
  /** COM_STMT_EXECUTE, FETCH or RESET of a statement that is tied to the connection. */
  | {
      readonly kind: 'use' | 'fetch' | 'reset';
      readonly client: ClientStatement;
      readonly owner: ClientStatements;
    };

export class ConnectionStatements {
  private entries = new Map<Statement, Prepared>();
  private bytes = 0;
  private clock = 0;
  private toClose: number[] = [];
  /** In the order of the answers. */
  private readonly notes: Note[] = [];
  private preparing = 0;
  /** Why the proxy's own COM_STMT_PREPARE failed: the whole error. */
  private failure: Buffer | undefined = undefined;

  get size(): number {
    return this.entries.size;
  }

  /** A COM_STMT_PREPARE is not answered yet. */
  get isPreparing(): boolean {
    return this.preparing > 0;
  }

  /** What the connection has of `statement`; marks it as used. */
  use(statement: Statement): Prepared | undefined {
    const entry = this.entries.get(statement);
    if (entry !== undefined) entry.usedAt = ++this.clock;
    return entry;
  }

  /** What nobody has executed yet becomes what it is for those who execute it as `variant`. */
  become(base: Statement, variant: Statement): Prepared | undefined {
    const entry = base === variant ? undefined : this.entries.get(base);
    if (entry === undefined) return undefined;
    this.take(entry);
    const own = { ...entry, statement: variant };
    this.put(own);
    return own;
  }

  /** From here on it is one client's alone. */
  take(prepared: Prepared): void {
    const { statement } = prepared;
    if (this.entries.get(statement) !== prepared) return;
    this.entries.delete(statement);
    this.bytes -= statement.bytes;
  }

  /** It is anybody's again. */
  putBack(prepared: Prepared): void {
    if (this.entries.has(prepared.statement)) this.toClose.push(prepared.id);
    else this.put(prepared);
  }

  /** It is of no use to anybody. */
  discard(prepared: Prepared): void {
    this.take(prepared);
    this.toClose.push(prepared.id);
  }

  private put(prepared: Prepared): void {
    const { statement } = prepared;
    const before = this.entries.get(statement);
    if (before !== undefined) this.discard(before);
    prepared.usedAt = ++this.clock;
    this.entries.set(statement, prepared);
    this.bytes += statement.bytes;
    while (
      this.entries.size > CONNECTION_STATEMENTS_MAX ||
      (this.bytes > CONNECTION_STATEMENT_BYTES_MAX && this.entries.size > 1)
    ) {
      this.discardOldest();
    }
  }

  private discardOldest(): void {
    let oldest: Prepared | undefined;
    for (const each of this.entries.values()) {
      if (oldest === undefined || each.usedAt < oldest.usedAt) oldest = each;
    }
    if (oldest !== undefined) this.discard(oldest);
  }

  /** Makes room in the server, which has no more. Returns whether there was anything to give up. */
  makeRoom(): boolean {
    const { size } = this.entries;
    for (let count = Math.ceil(size / 4); count > 0; count--) this.discardOldest();
    return this.toClose.length > 0;
  }

  get hasCloses(): boolean {
    return this.toClose.length > 0;
  }

  /** To be written before anything else, now. */
  takeCloses(): Buffer {
    const message = closeMessages(this.toClose);
    this.toClose = [];
    return message;
  }

  /** COM_RESET_CONNECTION has closed all of them. */
  lose(): void {
    this.entries.clear();
    this.bytes = 0;
    this.toClose = [];
    this.failure = undefined;
  }

  // --- What is owed

  prepareSent(
    statement: Statement,
    client: ClientStatement | undefined,
    owner: ClientStatements,
  ): void {
    this.preparing++;
    if (client === undefined) this.failure = undefined;
    this.notes.push({ kind: 'prepare', statement, client, owner });
  }

  /** Its entry in the ledger is `NOTED`. */
  useSent(kind: 'use' | 'fetch' | 'reset', client: ClientStatement, owner: ClientStatements): void {
    client.owed++;
    this.notes.push({ kind, client, owner });
  }

  /**
   * The oldest COM_STMT_PREPARE was answered: the database's `id`, the number of parameters. Returns the
   * id for the client.
   */
  prepared(id: number, parameters: number): number {
    const note = this.takeNote();
    if (note?.kind !== 'prepare') return id;
    this.preparing--;
    const { client, owner, statement } = note;
    const prepared = { statement, id, types: undefined, hadCursor: false, usedAt: 0 };
    if (client === undefined) {
      // Where it was not to be prepared it is something else.
      if (this.failure === undefined) this.put(prepared);
      else this.toClose.push(id);
      return id;
    }
    client.isPending = false;
    client.parameters = parameters;
    if (client.isLarge) owner.tie(client, prepared);
    else this.put(prepared);
    return client.id;
  }

  /** The oldest COM_STMT_PREPARE failed. `error` is its payload, kept when the proxy asked for itself. */
  prepareFailed(error: Uint8Array): void {
    const note = this.takeNote();
    if (note?.kind !== 'prepare') return;
    this.preparing--;
    const { client, owner } = note;
    if (client !== undefined) owner.remove(client);
    else this.failure ??= Buffer.from(error);
  }

  /** The text of the COM_STMT_PREPARE that is about to fail; it may be tried again. */
  get oldestPrepare(): Buffer | undefined {
    const [note] = this.notes;
    return note?.kind === 'prepare' ? note.statement.prepare : undefined;
  }

  /** A step towards a COM_STMT_PREPARE of the proxy's own failed. */
  switchFailed(error: Uint8Array): void {
    this.failure ??= Buffer.from(error);
  }

  /** Why the proxy could not prepare what it wanted to; told once. */
  takeFailure(): Buffer | undefined {
    const { failure } = this;
    this.failure = undefined;
    return failure;
  }

  /** The client's id of the statement that the oldest note is about. */
  get oldestClientId(): number {
    const [note] = this.notes;
    return note?.client?.id ?? 0;
  }

  /** The oldest `NOTED` answer is complete. */
  ended(isFailed: boolean, status: number): void {
    const note = this.takeNote();
    if (note === undefined || note.kind === 'prepare') return;
    const { client, kind, owner } = note;
    client.owed--;
    const hadLongData = client.hasLongData;
    if (kind !== 'fetch') client.hasLongData = false;
    const isOpen =
      (status & SERVER_STATUS_CURSOR_EXISTS) !== 0 && (status & SERVER_STATUS_LAST_ROW_SENT) === 0;
    client.hasCursor = !isFailed && kind !== 'reset' && isOpen;
    if (client.hasCursor || client.owed > 0) return;
    const free = owner.untie(client);
    if (free === undefined) return;
    // A server remembers what was wrong with the values that were sent ahead.
    const isOther = free.statement !== client.statement;
    if (isOther || (isFailed && (hadLongData || kind !== 'use'))) this.discard(free);
    else this.putBack(free);
  }

  /** The connection is lost, and nothing of what is owed will come. */
  connectionLost(): void {
    for (let note = this.takeNote(); note !== undefined; note = this.takeNote()) {
      const { client, owner } = note;
      if (client !== undefined && note.kind === 'prepare') owner.remove(client);
    }
  }

  private takeNote(): Note | undefined {
    return this.notes.shift();
  }
}
