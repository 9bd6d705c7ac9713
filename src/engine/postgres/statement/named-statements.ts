/**
 * Translates what one client says about named statements into what the connection that it happens to have
 * must hear: the only messages that do not reach the database as the client wrote them. The connection
 * gets a Parse of what it lacks first, and what only the client's names are about is answered by the
 * proxy when its turn comes.
 *
 * Each method takes a whole message, `bytes[at, next)`, and where the run of bytes begins that goes out as
 * it is (`from`). It returns where the next run begins, or `WAIT`.
 */

import { effectsOf, MAY_CLEAR, PLAIN } from '../../../sql/postgres/effects.ts';
import {
  type NamedStatement,
  recogniseNamed,
  type StatementRemoval,
} from '../../../sql/postgres/statement-names.ts';
import type { ClientTexts } from '../client-texts.ts';
import type { DatabaseConnection } from '../database-connection.ts';
import {
  CHANGES_CLIENT,
  CHANGES_CONNECTION,
  INSERTED,
  MUST_FAIL,
  OURS,
  OWES_BIND,
  OWES_CLOSE,
  OWES_DESCRIBE,
  OWES_EXECUTE,
  OWES_PARSE,
  OWES_QUERY,
  OWES_SYNC,
} from '../ledger.ts';
import type { Outbox } from '../outbox.ts';
import { type RelayHost, WAIT, WAIT_FOR_CHECK } from '../relay-host.ts';
import { BoundParameters } from '../wire/bound-parameters.ts';
import {
  closeStatementMessage,
  describeStatementMessage,
  parseHeader,
  queryMessage,
  renamedBindHeader,
  SYNC_MESSAGE,
} from '../wire/frontend.ts';
import { HEADER_BYTES } from '../wire/messages.ts';
import { CLIENT_STATEMENT_BYTES_MAX, CLIENT_STATEMENTS_MAX } from './client-statements.ts';
import { CHANGED_NAME, escapedName, quoted, SERVER_NAME_PREFIX } from './names.ts';
import {
  bindToPassing,
  DEALLOCATE_PASSING,
  prepare,
  prepareAgain,
  preparePassing,
} from './preparing.ts';
import type { Statement } from './statement.ts';
import type { StatementNames } from './statement-names.ts';

const EMPTY = Buffer.alloc(0);
/** Of a DEALLOCATE or DISCARD whose meaning for prepared statements has been seen to. */
const CLEARING = effectsOf(MAY_CLEAR);
/** Instead of a name that the connection knows. */
const AWAITED = '';
const TOO_MANY_STATEMENTS = `more than ${CLIENT_STATEMENTS_MAX} prepared statements, or ${
  CLIENT_STATEMENT_BYTES_MAX / 2 ** 20
} MiB of them`;

/** Where the names of a Bind end, and where the message does. */
export interface BindPlace {
  readonly portalEnd: number;
  readonly nameEnd: number;
  readonly next: number;
}

export class NamedStatements {
  private readonly host: RelayHost;
  private readonly out: Outbox;
  private readonly texts: ClientTexts;
  readonly names: StatementNames;
  /** Portals, by name, that will take prepared statements away. */
  private removals: Map<string, StatementRemoval> | undefined = undefined;

  constructor(host: RelayHost, out: Outbox, texts: ClientTexts, names: StatementNames) {
    this.host = host;
    this.out = out;
    this.texts = texts;
    this.names = names;
  }

  /** One of the client's portals may take statements away. */
  get hasRemovals(): boolean {
    return this.removals !== undefined;
  }

  // --- In simple queries

  /** A text that may be about statements. `undefined`: it is not about those of the protocol alone. */
  query(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number | undefined {
    const named = recogniseNamed(bytes.toString('latin1', at + HEADER_BYTES, next - 1));
    if (named === undefined) return undefined;
    const begin = this.queryOf(connection, named, bytes, from, at, next);
    if (begin !== WAIT) this.removing(named);
    return begin;
  }

  private removing({ kind }: NamedStatement): void {
    if (kind === 'discard_all') this.host.discarding();
    else if (kind !== 'execute') this.host.suspect(CLEARING, EMPTY);
  }

  /**
   * A simple query about statements that the protocol prepared, in the names of the database. Returns
   * where the next run of bytes begins, or `WAIT`.
   */
  private queryOf(
    connection: DatabaseConnection,
    named: NamedStatement,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger, statements } = connection;
    const name = 'name' in named ? named.name : undefined;
    if (this.names.isUncertain(connection, name)) return WAIT;
    if (name === undefined) {
      // What it clears beside statements is seen in its reply.
      this.names.clear();
      statements.clear();
      ledger.owe(OWES_QUERY | CHANGES_CLIENT | CHANGES_CONNECTION);
      return from;
    }
    const statement = this.names.get(name);
    if (statement === undefined && !name.startsWith(SERVER_NAME_PREFIX)) {
      // Prepared in SQL, and then the session is pinned; or there is none.
      ledger.owe(OWES_QUERY);
      return from;
    }
    this.out.emit(bytes, from, at);
    if (named.kind === 'execute') this.queryExecute(connection, named, statement);
    else this.queryDeallocate(connection, name, statement);
    return next;
  }

  /** EXECUTE of `statement`; without one, of somebody else's, or of none. */
  private queryExecute(
    connection: DatabaseConnection,
    { name, rest }: { readonly name: string; readonly rest: string },
    statement: Statement | undefined,
  ): void {
    const { ledger } = connection;
    const serverName = statement?.serverName ?? quoted(escapedName(name));
    const message = queryMessage(`EXECUTE ${serverName}${rest}`, 'latin1');
    if (statement !== undefined) {
      this.applyStatement(statement);
      // In a batch of its own, which may fail by itself.
      if (!ledger.isBatchOpen && !connection.statements.use(statement)) {
        // Other rows than before need no error: the answer to a simple query describes them.
        prepareAgain(connection, this.out, statement);
        this.endBatch(connection);
      }
    }
    ledger.owe(OWES_QUERY);
    this.out.push(message);
  }

  /** Of a statement that is only a name, the connection's is left alone and another one goes. */
  private queryDeallocate(
    connection: DatabaseConnection,
    name: string,
    statement: Statement | undefined,
  ): void {
    const { ledger } = connection;
    if (statement === undefined) {
      ledger.owe(OWES_QUERY);
      this.out.push(queryMessage(`DEALLOCATE ${quoted(escapedName(name))}`, 'latin1'));
      return;
    }
    preparePassing(connection, this.out);
    this.names.change(name, undefined);
    ledger.owe(OWES_QUERY | CHANGES_CLIENT);
    this.out.push(DEALLOCATE_PASSING);
  }

  /** Ends a batch of our own before a simple query. */
  private endBatch(connection: DatabaseConnection): void {
    connection.ledger.owe(OWES_SYNC | OURS);
    this.out.push(SYNC_MESSAGE);
  }

  // --- Parse, Bind, Describe, Close

  parse(
    connection: DatabaseConnection,
    name: string,
    bytes: Buffer,
    from: number,
    { at, body, next }: { readonly at: number; readonly body: number; readonly next: number },
  ): number {
    if (this.names.isUncertain(connection, name)) return WAIT;
    const { names } = this;
    const existing = names.get(name);
    if (existing !== undefined) {
      this.out.emit(bytes, from, at);
      // The database refuses the name that it already has (42P05), in its place in the stream.
      if (!connection.statements.use(existing)) prepareAgain(connection, this.out, existing);
      connection.ledger.owe(OWES_PARSE);
      this.out.push(parseHeader(existing.serverName, next - body));
      return body;
    }
    if (names.isFull) {
      this.out.flush(connection, bytes, from, at);
      this.host.violated(TOO_MANY_STATEMENTS);
      return next;
    }
    const statement = names.intern(bytes, body, next);
    if (!this.texts.mayRun(connection, statement.effects, bytes, body, next)) return WAIT;
    this.out.emit(bytes, from, at);
    names.change(name, statement);
    this.prepareForClient(connection, statement);
    return next;
  }

  /** One that cannot be kept, so it cannot be sent again to another connection. */
  parseLarge(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const nameAt = at + HEADER_BYTES;
    const nameEnd = bytes.indexOf(0, nameAt);
    const name = nameEnd < 0 ? '' : bytes.toString('latin1', nameAt, nameEnd);
    if (this.names.isUncertain(connection, name)) return WAIT;
    this.host.pin('large_statement', EMPTY);
    // A name that is taken is refused, as ever.
    const existing = this.names.get(name);
    if (existing !== undefined && !connection.statements.use(existing)) {
      this.out.emit(bytes, from, at);
      from = at;
      prepareAgain(connection, this.out, existing);
    }
    const isEscaped = name.startsWith(SERVER_NAME_PREFIX);
    const serverName = existing?.serverName ?? (isEscaped ? escapedName(name) : undefined);
    connection.ledger.owe(OWES_PARSE);
    if (serverName === undefined) return from;
    this.out.emit(bytes, from, at);
    this.out.push(parseHeader(serverName, next - nameEnd - 1));
    return nameEnd + 1;
  }

  bind(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    place: BindPlace,
  ): number {
    const { portalEnd, nameEnd } = place;
    const name = bytes.toString('latin1', portalEnd + 1, nameEnd);
    if (this.names.isUncertain(connection, name)) return WAIT;
    const statement = this.names.current(name);
    if (statement !== undefined) {
      const { effects, parse } = statement;
      if (!this.texts.mayBind(connection, effects, parse, 0, parse.length)) return WAIT;
    }
    const serverName = this.serverName(connection, name, statement, bytes, from, at);
    if (serverName === AWAITED) return WAIT_FOR_CHECK;
    if (statement !== undefined) {
      this.applyStatement(statement, bytes, nameEnd + 1, place.next);
      this.texts.tellBound(statement.parse, 0);
    }
    connection.ledger.owe(serverName === CHANGED_NAME ? OWES_BIND | MUST_FAIL : OWES_BIND);
    const removal = statement?.removal;
    if (removal !== undefined || this.removals !== undefined) {
      this.bindPortal(bytes.toString('latin1', at + HEADER_BYTES, portalEnd), removal);
    }
    if (serverName === undefined) return from;
    this.out.push(renamedBindHeader(bytes, at, place, serverName));
    // The rest of the message begins the next run.
    return nameEnd + 1;
  }

  describe(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const name = bytes.toString('latin1', at + HEADER_BYTES + 1, next - 1);
    if (this.names.isUncertain(connection, name)) return WAIT;
    const statement = this.names.current(name);
    const serverName = this.serverName(connection, name, statement, bytes, from, at);
    if (serverName === AWAITED) return WAIT_FOR_CHECK;
    if (serverName === CHANGED_NAME) {
      // Nobody waits for two of them at a time: to know that another has changed, one waits.
      connection.replies.parametersTold = statement?.description?.parameterTypes;
      ledger.owe(OWES_DESCRIBE | MUST_FAIL);
    } else {
      ledger.owe(OWES_DESCRIBE);
    }
    if (serverName === undefined) return from;
    this.out.push(describeStatementMessage(serverName));
    return next;
  }

  close(
    connection: DatabaseConnection,
    bytes: Buffer,
    from: number,
    at: number,
    next: number,
  ): number {
    const { ledger } = connection;
    const name = bytes.toString('latin1', at + HEADER_BYTES + 1, next - 1);
    if (this.names.isUncertain(connection, name)) return WAIT;
    this.out.emit(bytes, from, at);
    if (this.names.get(name) !== undefined) {
      // The connection keeps the statement.
      this.names.change(name, undefined);
      ledger.owe(OWES_CLOSE | INSERTED | CHANGES_CLIENT);
      return next;
    }
    if (this.host.mayHaveLeft) {
      // One that the database knows by the client's name: prepared in SQL, or too large to be kept.
      ledger.owe(OWES_CLOSE);
      if (!name.startsWith(SERVER_NAME_PREFIX)) return at;
      this.out.push(closeStatementMessage(escapedName(name)));
      return next;
    }
    // To close one that does not exist is no error.
    ledger.owe(OWES_CLOSE | INSERTED);
    return next;
  }

  /** It is bound by the Bind in `bind`, whose formats and values begin at `from`. */
  private applyStatement(
    { effects, body }: Statement,
    bind: Buffer = EMPTY,
    from = 0,
    to = 0,
  ): void {
    if (effects === PLAIN) return;
    this.texts.apply(effects, body, 0, body.length, new BoundParameters(bind, from, to));
  }

  /** The client's own Parse of `statement`, answered by the database or, where that is safe, by us. */
  private prepareForClient(connection: DatabaseConnection, statement: Statement): void {
    const { ledger, statements } = connection;
    if (this.names.isAsUsual && ledger.isSureNotFailed && statements.isFresh(statement)) {
      statements.use(statement);
      ledger.owe(OWES_PARSE | INSERTED | CHANGES_CLIENT);
      return;
    }
    // In a failed transaction Parse is refused, so the database has to be asked; and the schema, or
    // settings of this session, may have changed: the client gets the statement as it would be now.
    prepare(connection, this.out, statement, CHANGES_CLIENT, 'noted');
  }

  /**
   * The name by which the connection knows the client's statement `name`, which it has by then; the
   * bytes up to `at` have been emitted. `undefined`: the name goes as it is.
   */
  private serverName(
    connection: DatabaseConnection,
    name: string,
    statement: Statement | undefined,
    bytes: Buffer,
    from: number,
    at: number,
  ): string | undefined {
    if (statement === undefined) {
      if (!name.startsWith(SERVER_NAME_PREFIX)) return undefined;
      // Nobody else's statement, whatever the client calls it.
      this.out.emit(bytes, from, at);
      return escapedName(name);
    }
    this.out.emit(bytes, from, at);
    if (connection.statements.use(statement)) return statement.serverName;
    return this.checkedName(connection, statement);
  }

  /**
   * The connection does not have `statement`, or not for sure. What the client knows of it must still
   * be true when it runs, so it runs when the database has said so.
   */
  private checkedName(connection: DatabaseConnection, statement: Statement): string {
    const { statements } = connection;
    if (statements.isAwaited(statement)) {
      this.out.isFlushDue = true;
      return AWAITED;
    }
    if (statements.takeChanged(statement)) return CHANGED_NAME;
    if (prepareAgain(connection, this.out, statement) !== 'awaited') return statement.serverName;
    this.out.isFlushDue = true;
    return AWAITED;
  }

  // --- Portals that take prepared statements away

  /** A portal was bound to a statement that is `removal`, or to another. */
  bindPortal(portal: string, removal: StatementRemoval | undefined): void {
    if (removal === undefined) {
      this.removals?.delete(portal);
      return;
    }
    this.removals ??= new Map();
    this.removals.set(portal, removal);
  }

  closePortal(portal: string): void {
    this.removals?.delete(portal);
  }

  /** The transaction is over, and its portals went with it. */
  portalsGone(): void {
    this.removals = undefined;
  }

  /** Execute, when one of the client's portals takes statements away; like `queryOf`. */
  execute(connection: DatabaseConnection, bytes: Buffer, from: number, at: number): number {
    const { ledger, statements } = connection;
    const portalEnd = bytes.indexOf(0, at + HEADER_BYTES);
    const portal = bytes.toString('latin1', at + HEADER_BYTES, portalEnd);
    const removal = ledger.isSkipping ? undefined : this.removals?.get(portal);
    const name = removal?.kind === 'deallocate' ? removal.name : undefined;
    if (removal !== undefined && this.names.isUncertain(connection, name)) return WAIT;
    if (removal !== undefined) this.removing(removal);
    this.host.requested();
    // It runs once, whether it succeeds or not.
    this.removals?.delete(portal);
    if (removal !== undefined && name === undefined) {
      this.names.clear();
      statements.clear();
      ledger.owe(OWES_EXECUTE | CHANGES_CLIENT | CHANGES_CONNECTION);
      return from;
    }
    if (name === undefined || this.names.get(name) === undefined) {
      ledger.owe(OWES_EXECUTE);
      return from;
    }
    this.out.emit(bytes, from, at);
    bindToPassing(connection, this.out, portal);
    this.names.change(name, undefined);
    ledger.owe(OWES_EXECUTE | CHANGES_CLIENT);
    return at;
  }
}
