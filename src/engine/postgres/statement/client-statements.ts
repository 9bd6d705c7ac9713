/**
 * The named statements of one client. They are written when a message is sent and corrected when its
 * reply says otherwise: a message that fails, or is skipped after an error, has not happened. Within a
 * batch what was written is what later messages find, for those after an error are skipped; what an
 * earlier batch has changed is sure only when its reply has come.
 */

import { Fifo } from '../../../base/fifo.ts';
import type { Statement } from './statement.ts';

/** A client that makes more statements than this is told so, as a server without memory would. */
export const CLIENT_STATEMENTS_MAX = 10_000;
/** The same for the bytes of their texts. */
export const CLIENT_STATEMENT_BYTES_MAX = 64 * 1024 * 1024;
/** In a longer pipeline of changes it is not looked up which name is meant. */
const PENDING_SEARCHED_MAX = 64;

type Names = Map<string, Statement>;

/** A change whose reply is owed. */
type NameChange =
  | { readonly batch: number; readonly name: string; before: Statement | undefined }
  /** All names went at once. */
  | { readonly batch: number; readonly all: Names };

/** Errors that are still to come may name that many statements which others have succeeded. */
const FORMER_NAMES_MAX = 100;

/** What a statement is called that has a name, or may get it back. */
interface Naming {
  readonly name: string;
  /** By the name itself, and by every pending change that would bring it back. */
  uses: number;
}

/**
 * The named statements of one client. No two names stand for one statement, so that an error about a
 * statement can be put in the client's words. Nothing here looks through the statements or through what
 * is pending for each message: a client may have thousands of either.
 */
export class ClientStatements {
  private byName: Names = new Map();
  /** By the name that connections know. */
  private readonly namings = new Map<string, Naming>();
  private bytes = 0;
  private batch = 0;
  /** In the order of the replies. */
  private readonly pending = new Fifo<NameChange>();
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
  isNamed({ serverName }: Statement): boolean {
    return this.namings.has(serverName);
  }

  /** The client's name for a statement, to put back into an error of the database. */
  nameOf(serverName: string): string | undefined {
    return this.namings.get(serverName)?.name ?? this.former.get(serverName);
  }

  /** What the client has prepared as `statement` was `successor` all along. */
  replace(statement: Statement, successor: Statement): void {
    const naming = this.namings.get(statement.serverName);
    if (naming === undefined) return;
    const { name } = naming;
    if (this.byName.get(name) === statement) this.set(name, successor);
    if (naming.uses > 0) this.replacePending(name, statement, successor);
    if (this.former.size >= FORMER_NAMES_MAX) this.former.clear();
    this.former.set(statement.serverName, name);
  }

  private replacePending(name: string, statement: Statement, successor: Statement): void {
    for (const change of this.pending) {
      if ('all' in change) {
        if (change.all.get(name) !== statement) continue;
        change.all.set(name, successor);
      } else {
        if (change.before !== statement) continue;
        change.before = successor;
      }
      this.hold(name, successor);
      this.release(statement);
    }
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
    const { head } = pending;
    if (head === undefined || head.batch === batch) return false;
    if (name === undefined || pending.length > PENDING_SEARCHED_MAX) return true;
    for (const each of pending) {
      if (each.batch !== batch && ('all' in each || each.name === name)) return true;
    }
    return false;
  }

  /** A Parse or Close was sent. `undefined`: the name is gone. */
  change(name: string, to: Statement | undefined): void {
    const before = this.byName.get(name);
    this.pending.push({ batch: this.batch, name, before });
    if (before !== undefined) this.hold(name, before);
    this.set(name, to);
  }

  /** A DEALLOCATE ALL or DISCARD ALL was sent. */
  clear(): void {
    // They are held by the change from here on.
    this.pending.push({ batch: this.batch, all: this.byName });
    this.byName = new Map();
    this.bytes = 0;
  }

  /** The reply to the oldest change came. */
  confirm(): void {
    const change = this.pending.shift();
    if (change === undefined) return;
    if ('all' in change) this.releaseAll(change.all);
    else if (change.before !== undefined) this.release(change.before);
  }

  /** The `count` oldest changes did not happen. */
  undo(count: number): void {
    for (const change of this.pending.take(count).reverse()) {
      if ('all' in change) {
        this.lose();
        this.byName = change.all;
        for (const { parse } of change.all.values()) this.bytes += parse.length;
      } else {
        this.set(change.name, change.before);
        if (change.before !== undefined) this.release(change.before);
      }
    }
  }

  /** The database has forgotten them all, in a way that no text showed. */
  lose(): void {
    this.releaseAll(this.byName);
    this.byName = new Map();
    this.bytes = 0;
  }

  private set(name: string, to: Statement | undefined): void {
    const before = this.byName.get(name);
    if (to !== undefined) {
      this.byName.set(name, to);
      this.bytes += to.parse.length;
      this.hold(name, to);
    }
    if (before === undefined) return;
    if (to === undefined) this.byName.delete(name);
    this.bytes -= before.parse.length;
    this.release(before);
  }

  private hold(name: string, { serverName }: Statement): void {
    const naming = this.namings.get(serverName);
    if (naming === undefined) this.namings.set(serverName, { name, uses: 1 });
    else naming.uses++;
  }

  private release({ serverName }: Statement): void {
    const naming = this.namings.get(serverName);
    if (naming === undefined || --naming.uses > 0) return;
    this.namings.delete(serverName);
  }

  private releaseAll(names: Names): void {
    for (const statement of names.values()) this.release(statement);
  }
}
