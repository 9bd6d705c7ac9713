/**
 * The named statements of one client. They are written when a message is sent and corrected when its
 * reply says otherwise: a message that fails, or is skipped after an error, has not happened. Within a
 * batch what was written is what later messages find, for those after an error are skipped; what an
 * earlier batch has changed is sure only when its reply has come.
 */

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
