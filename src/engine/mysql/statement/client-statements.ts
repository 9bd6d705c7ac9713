/** The prepared statements of one client, by the ids that it was given. */

import type { BerthError } from '../../../base/errors.ts';
import { LAST_STATEMENT } from '../wire/statement-commands.ts';
import type { Prepared } from './connection-statements.ts';
import type { Statement } from './statement.ts';

/** A client that prepares more is told what a server tells that has no room for them. */
export const CLIENT_STATEMENTS_MAX = 10_000;
/** The same for the bytes of their texts, and of the types of their parameters. */
export const CLIENT_STATEMENT_BYTES_MAX = 64 * 1024 * 1024;

export class ClientStatement {
  readonly id: number;
  /** As it was prepared. */
  readonly base: Statement;
  /** As it is executed; see `Statement.executedWith`. */
  statement: Statement;
  /** The types that its parameters have had last. */
  merged: Buffer | undefined = undefined;
  /** The database has not answered the client's COM_STMT_PREPARE. */
  isPending = true;
  parameters = 0;
  /** As the client has sent them last. */
  types: Buffer | undefined = undefined;
  /**
   * What the connection has prepared, while it is this client's alone: it has a cursor, or values that
   * wait to be executed with, or cannot be prepared elsewhere.
   */
  tied: Prepared | undefined = undefined;
  hasCursor = false;
  hasLongData = false;
  /** Answers owed that may change any of it. */
  owed = 0;
  /** Executing it is refused, until it is reset. */
  refusal: BerthError | undefined = undefined;

  constructor(id: number, statement: Statement) {
    this.id = id;
    this.base = statement;
    this.statement = statement;
  }

  /** Its connection is the only one that has it, for good. */
  get isLarge(): boolean {
    return this.base.text === undefined;
  }
}

export class ClientStatements {
  private byId = new Map<number, ClientStatement>();
  private bytes = 0;
  private lastId = 0;
  private last: ClientStatement | undefined = undefined;
  private large = 0;
  private ties = 0;

  /** Nothing more may be kept for this client. */
  get isFull(): boolean {
    return this.byId.size >= CLIENT_STATEMENTS_MAX || this.bytes >= CLIENT_STATEMENT_BYTES_MAX;
  }

  get size(): number {
    return this.byId.size;
  }

  /** Something of the client's is on its connection that nobody can take elsewhere. */
  get areTied(): boolean {
    return this.ties > 0;
  }

  get hasLarge(): boolean {
    return this.large > 0;
  }

  get(id: number): ClientStatement | undefined {
    return this.byId.get(id);
  }

  /** The one that was prepared last, if that went well. */
  get latest(): ClientStatement | undefined {
    return this.last;
  }

  /** A COM_STMT_PREPARE was sent. As in a server, one that fails has had an id too. */
  add(statement: Statement): ClientStatement {
    this.lastId = (this.lastId + 1) % LAST_STATEMENT;
    const added = new ClientStatement(this.lastId, statement);
    this.byId.set(added.id, added);
    this.bytes += statement.bytes;
    if (added.isLarge) this.large++;
    this.last = added;
    return added;
  }

  /** It was closed, or could not be prepared. */
  remove(statement: ClientStatement): void {
    if (!this.byId.delete(statement.id)) return;
    this.bytes -= statement.statement.bytes + (statement.types?.length ?? 0);
    if (statement.isLarge) this.large--;
    else if (statement.tied !== undefined) this.ties--;
    if (this.last === statement) this.last = undefined;
  }

  /** The client executes `statement` with other types than before. */
  typed(statement: ClientStatement, types: Buffer | undefined): void {
    this.bytes += (types?.length ?? 0) - (statement.types?.length ?? 0);
    statement.types = types;
  }

  tie(statement: ClientStatement, to: Prepared): void {
    if (statement.tied === undefined && !statement.isLarge) this.ties++;
    statement.tied = to;
  }

  /** Returns what it was tied to, which is anybody's again; not for a large one. */
  untie(statement: ClientStatement): Prepared | undefined {
    const { tied } = statement;
    if (tied === undefined || statement.isLarge) return undefined;
    statement.tied = undefined;
    if (this.byId.get(statement.id) === statement) this.ties--;
    return tied;
  }

  /** COM_RESET_CONNECTION, COM_CHANGE_USER. */
  clear(): void {
    this.byId = new Map();
    this.bytes = 0;
    this.last = undefined;
    this.large = 0;
    this.ties = 0;
  }
}
