/**
 * The client's commands about prepared statements. A client's statement is an id for an interned text;
 * which connection has it prepared, and under which id, is the proxy's business. So a session with
 * prepared statements is served by any connection.
 *
 * COM_STMT_PREPARE goes to the database, and its answer back with another id in it. Everything else has
 * its id changed in place, on a connection that has the statement; one that lacks it prepares it first,
 * and the command waits for that: the id has to be in it, and what follows a failed COM_STMT_PREPARE in
 * a pipeline is executed all the same.
 *
 * What cannot move ties the session to its connection for as long as it lasts: an open cursor, and values
 * that were sent ahead of the execution.
 */

import { BerthError } from '../../../base/errors.ts';
import { Effect, type EffectSet, PLAIN } from '../../../sql/mysql/effects.ts';
import type { DatabaseConnection } from '../database-connection.ts';
import {
  FRESH,
  MAY_READ_FILE,
  NOTED,
  OURS,
  OWES_OK,
  OWES_RESULT,
  OWES_ROWS,
  OWES_STATEMENT,
  SWITCHES,
} from '../ledger.ts';
import { DEALT_WITH, GONE, REPLACED, SENT, WAIT } from '../relay-outcome.ts';
import { type Replay, schemaReplay } from '../session-state.ts';
import {
  CLIENT_QUERY_ATTRIBUTES,
  COM_STMT_BULK_EXECUTE,
  COM_STMT_CLOSE,
  COM_STMT_EXECUTE,
  COM_STMT_FETCH,
  COM_STMT_PREPARE,
  COM_STMT_RESET,
  COM_STMT_SEND_LONG_DATA,
  has,
} from '../wire/capabilities.ts';
import { queryMessage } from '../wire/commands.ts';
import { HEADER_BYTES, PAYLOAD_MAX, payloadLengthAt } from '../wire/packets.ts';
import {
  asksForCursor,
  isSameBlock,
  LAST_STATEMENT,
  longDataParameterAt,
  STATEMENT_HEAD_BYTES,
  statementIdAt,
  TypesView,
  writeStatementId,
} from '../wire/statement-commands.ts';
import {
  cursorNotOpen,
  malformedPacket,
  tooManyStatements,
  unknownStatement,
  wrongLongData,
} from './answers.ts';
import { type ClientStatement, ClientStatements } from './client-statements.ts';
import type { Prepared } from './connection-statements.ts';
import type { Reading } from './reading.ts';
import type { StatementRegistry } from './registry.ts';
import { largeStatement } from './statement.ts';

/** The session, as far as it matters here; see `RelayHost`. */
export interface StatementHost {
  readonly capabilities: number;
  readonly statements: StatementRegistry;
  /** What a text means that is prepared now. */
  readonly reading: Reading;
  acquire(rest: Buffer, effects: EffectSet): boolean;
  wait(rest: Buffer): void;
  requested(): void;
  running(effects: EffectSet, bytes: Buffer, from: number, to: number): void;
  /** Debug logging is on, and has to be told what runs. */
  readonly isDebugLogged: boolean;
  /** A statement is about to be sent. Of one that is too large to be kept this is the beginning, or nothing. */
  sending(text: Uint8Array): void;
  /** Has `connection` run what makes it the session's again. */
  replay(connection: DatabaseConnection, replays: readonly Replay[]): void;
  refuse(error: BerthError): void;
  /** OK. */
  pinged(): void;
  /** The session has statements that were too long to be kept, or has none any more. */
  largeStatements(hasSome: boolean): void;
}

/** The relay, as far as it matters here. */
export interface CommandOutlet {
  /** The text is about to run, and may end the transaction. */
  noteEnd(
    connection: DatabaseConnection,
    text: Buffer,
    from: number,
    to: number,
    mayBeSeveral: boolean,
  ): void;
  readonly connection: DatabaseConnection | undefined;
  /** What is before the command in its chunk goes first. */
  prepend(message: Buffer): void;
  sendPrepended(): void;
}

const NOTHING = Buffer.alloc(0);
/** In the place of the types of a statement that may have any. */
const UNKNOWN_TYPES = Buffer.alloc(1);
const EMPTY = Buffer.alloc(0);

/** Whether `command` is dealt with here. */
export function isAboutStatement(command: number): boolean {
  return (
    (command >= COM_STMT_PREPARE && command <= COM_STMT_RESET) ||
    command === COM_STMT_FETCH ||
    command === COM_STMT_BULK_EXECUTE
  );
}

export class StatementRelay {
  private readonly host: StatementHost;
  private readonly outlet: CommandOutlet;
  private readonly own = new ClientStatements();
  private readonly types = new TypesView();
  /** What the command that waits needs is being prepared. */
  isPreparing = false;
  /** It was, when the command that is looked at now came back. */
  private hasPrepared = false;
  /** The client's execution of that, as it came: the server may want it prepared once more. */
  private fresh: Buffer | undefined = undefined;
  /** This is the second time. */
  private isAgain = false;
  /** The client's id of what was executed last: the command has the database's. */
  private executed = 0;

  constructor(host: StatementHost, outlet: CommandOutlet) {
    this.host = host;
    this.outlet = outlet;
  }

  /** The session must keep its connection. */
  get areTied(): boolean {
    return this.isPreparing || this.own.areTied;
  }

  /** Something of the client's is on the connection that is nowhere else. */
  get hasTies(): boolean {
    return this.own.areTied;
  }

  /** The connection is lost. */
  connectionLost(): void {
    this.isPreparing = false;
    this.fresh = undefined;
  }

  /** COM_RESET_CONNECTION or COM_CHANGE_USER: all of the client's statements are gone. */
  clear(): void {
    this.own.clear();
    this.isPreparing = false;
  }

  /**
   * A command at `at`, of which there is what is up to `next`. Returns what becomes of it.
   */
  command(bytes: Buffer, at: number, next: number, isWhole: boolean): number {
    this.hasPrepared = this.isPreparing;
    this.isPreparing = false;
    this.fresh = undefined;
    const payload = at + HEADER_BYTES;
    const command = bytes[payload];
    if (command === COM_STMT_PREPARE) return this.prepare(bytes, at, next, isWhole);
    if (next - payload < STATEMENT_HEAD_BYTES) {
      // Nobody answers it.
      if (command === COM_STMT_CLOSE || command === COM_STMT_SEND_LONG_DATA) return DEALT_WITH;
      return this.refuse(malformedPacket(this.isMariaDb));
    }
    const id = statementIdAt(bytes, payload);
    const client = id === LAST_STATEMENT ? this.latest : this.own.get(id);
    if (client === undefined) return this.unknown(id, command);
    if (client.isPending) return WAIT;
    switch (command) {
      case COM_STMT_CLOSE:
        return this.close(client);
      case COM_STMT_SEND_LONG_DATA:
        return this.sendLongData(client, bytes, at, next);
      case COM_STMT_RESET:
        return this.reset(client, bytes, payload);
      case COM_STMT_FETCH:
        return this.fetch(client, bytes, payload);
      default:
        return this.execute(client, bytes, at, next, isWhole);
    }
  }

  private get isMariaDb(): boolean {
    return this.host.reading.syntax.isMariaDb;
  }

  private get latest(): ClientStatement | undefined {
    return this.isMariaDb ? this.own.latest : undefined;
  }

  /** In its turn: when nothing else is owed to the client. */
  private refuse(error: BerthError): number {
    if (this.outlet.connection?.ledger.isEmpty === false) return WAIT;
    this.host.refuse(error);
    return DEALT_WITH;
  }

  private unknown(id: number, command: number): number {
    if (command === COM_STMT_CLOSE || command === COM_STMT_SEND_LONG_DATA) return DEALT_WITH;
    return this.refuse(unknownStatement(id, command, this.isMariaDb));
  }

  private acquire(bytes: Buffer, at: number, effects: EffectSet): boolean {
    const { host, outlet } = this;
    if (outlet.connection !== undefined) return true;
    return host.acquire(at === 0 ? bytes : bytes.subarray(at), effects);
  }

  // --- COM_STMT_PREPARE

  private prepare(bytes: Buffer, at: number, next: number, isWhole: boolean): number {
    const { host, outlet, own } = this;
    if (own.isFull) return this.refuse(tooManyStatements());
    if (!this.acquire(bytes, at, PLAIN)) return GONE;
    const { connection } = outlet;
    if (connection === undefined) return GONE;
    // What is under way may change what the text means.
    if (!connection.ledger.isOnlyReplays) return WAIT;
    host.requested();
    const textAt = at + HEADER_BYTES + 1;
    const statement = isWhole
      ? host.statements.intern(bytes, textAt, next, host.reading)
      : largeStatement(host.reading);
    connection.statements.prepareSent(statement, own.add(statement), own);
    connection.ledger.owe(OWES_STATEMENT);
    if (!isWhole) host.largeStatements(true);
    return SENT;
  }

  /**
   * Prepares what `client` is about to use, on a connection that lacks it: in the schema and under the
   * settings that it was prepared in first.
   */
  private prepareFirst(
    client: ClientStatement,
    connection: DatabaseConnection,
    bytes: Buffer,
    at: number,
  ): number {
    const { host, outlet } = this;
    const { ledger, statements } = connection;
    const { prepare, reading } = client.statement;
    if (!ledger.isOnlyReplays) return WAIT;
    const failure = statements.takeFailure();
    if (this.hasPrepared && failure !== undefined)
      return this.notPrepared(client, bytes, at, failure);
    // It was on the connection that the session has lost since; nothing can be known of it.
    if (prepare === undefined) return this.refuse(new BerthError('result_type_changed'));
    const { there, back } = switches(reading, host.reading, connection.capabilities);
    for (const { message, owes } of there) {
      ledger.owe(owes | OURS | SWITCHES);
      outlet.prepend(message);
    }
    statements.prepareSent(client.statement, undefined, this.own);
    ledger.owe(OWES_STATEMENT | OURS);
    outlet.prepend(prepare);
    if (there.length > 0 && host.reading.schema === '') connection.state.schema = reading.schema;
    host.replay(connection, back);
    outlet.sendPrepended();
    this.isPreparing = true;
    host.wait(at === 0 ? bytes : bytes.subarray(at));
    return GONE;
  }

  /** What the client would have been told when it used the statement. */
  private notPrepared(
    client: ClientStatement,
    bytes: Buffer,
    at: number,
    databaseMessage: Buffer,
  ): number {
    const error = new BerthError('internal', { databaseMessage });
    if (bytes[at + HEADER_BYTES] !== COM_STMT_SEND_LONG_DATA) {
      this.host.refuse(error);
    } else {
      // What was sent ahead is lost, so the statement must not be executed without.
      client.refusal = error;
    }
    return DEALT_WITH;
  }

  // --- What is prepared

  private execute(
    client: ClientStatement,
    bytes: Buffer,
    at: number,
    next: number,
    isWhole: boolean,
  ): number {
    const { host, outlet } = this;
    if (client.refusal !== undefined) return this.refuse(client.refusal);
    // Whether it has a cursor then, or values that were sent ahead, only the answer tells.
    if (client.owed > 0) return WAIT;
    if (!this.acquire(bytes, at, client.base.effects)) return GONE;
    const { connection } = outlet;
    if (connection === undefined) return GONE;
    const { statements } = connection;
    const payload = at + HEADER_BYTES;
    const isBulk = bytes[payload] === COM_STMT_BULK_EXECUTE;
    this.lookAtTypes(client, isBulk, bytes, payload, next);
    // MariaDB looks closer at what was sent ahead of the answer, without knowing the parameters.
    if (this.types.isBroken && statementIdAt(bytes, payload) === LAST_STATEMENT) {
      return this.refuse(malformedPacket(this.isMariaDb));
    }
    const { base, statement } = client;
    const asksCursor = !isBulk && asksForCursor(bytes, payload, next);
    let prepared = client.tied ?? statements.use(statement) ?? statements.become(base, statement);
    if (prepared?.hadCursor === true && !asksCursor && base.isCursorKept && !client.isLarge) {
      this.own.untie(client);
      client.hasCursor = false;
      statements.discard(prepared);
      prepared = undefined;
    }
    if (prepared === undefined) return this.prepareFirst(client, connection, bytes, at);
    const what = this.bindTypes(client, prepared, payloadLengthAt(bytes, at));
    if (what === WAIT) {
      // Somebody else's types are there, and this client never sent any.
      statements.discard(prepared);
      return this.prepareFirst(client, connection, bytes, at);
    }
    if (what === DEALT_WITH) return this.refuse(new BerthError('result_type_changed'));
    host.requested();
    const { effects, text } = statement;
    outlet.noteEnd(connection, text ?? EMPTY, 0, text?.length ?? 0, false);
    if (host.isDebugLogged) host.sending(text ?? NOTHING);
    if (effects !== 0) host.running(effects, text ?? bytes, 0, text?.length ?? 0);
    let owed = OWES_RESULT;
    if ((effects & Effect.loadLocal) !== 0) owed |= MAY_READ_FILE;
    const isTied = client.tied !== undefined && !client.isLarge;
    if (asksCursor) prepared.hadCursor = true;
    if (isTied || asksCursor) {
      this.tie(client, prepared, connection);
      statements.useSent('use', client, this.own);
      owed |= NOTED;
    } else if (this.hasPrepared && isWhole && !this.isAgain) {
      this.fresh = Buffer.from(bytes.subarray(at, next));
      owed |= FRESH;
    }
    this.isAgain = false;
    connection.ledger.owe(owed);
    this.executed = client.id;
    writeStatementId(bytes, payload, prepared.id);
    const { types } = client;
    if (what === SENT || types === undefined) return SENT;
    outlet.prepend(this.types.inserted(bytes, at, next, payloadLengthAt(bytes, at), types));
    return REPLACED;
  }

  /** The execution in `bytes`, which has been sent with the database's id, as the client wrote it. */
  asWritten(bytes: Buffer): Buffer {
    const written = Buffer.from(bytes);
    const command = bytes[HEADER_BYTES];
    const isExecution = command === COM_STMT_EXECUTE || command === COM_STMT_BULK_EXECUTE;
    if (isExecution) writeStatementId(written, HEADER_BYTES, this.executed);
    return written;
  }

  /** The execution that has failed because what it executes was to be prepared again; that is forgotten. */
  takeFresh(connection: DatabaseConnection): Buffer | undefined {
    const { fresh } = this;
    if (fresh === undefined) return undefined;
    const client = this.own.get(statementIdAt(fresh, HEADER_BYTES));
    const prepared = client && connection.statements.use(client.statement);
    if (prepared === undefined) return undefined;
    connection.statements.discard(prepared);
    this.fresh = undefined;
    this.isAgain = true;
    return fresh;
  }

  private lookAtTypes(
    client: ClientStatement,
    isBulk: boolean,
    bytes: Buffer,
    payload: number,
    next: number,
  ): void {
    const { types: view } = this;
    const hasAttributes = has(this.host.capabilities, CLIENT_QUERY_ATTRIBUTES);
    if (isBulk) view.ofBulk(bytes, payload, next, client.parameters);
    else view.ofExecute(bytes, payload, next, client.parameters, hasAttributes);
    if (view.isBroken || !view.isSent) return;
    const { types } = client;
    if (types !== undefined && isSameBlock(types, bytes, view.from, view.to)) return;
    this.remember(client, bytes, view.from, view.to);
    if (!client.base.isTypeKept || client.isLarge) return;
    client.merged = view.merged(bytes, client.parameters, hasAttributes, client.merged);
    client.statement = client.base.executedWith(client.merged);
  }

  /**
   * The server keeps the types of a statement's parameters, and clients leave them out when they have not
   * changed. Returns `SENT`: the command is right as it is; `REPLACED`: the types must be put in; `WAIT`:
   * the statement must be prepared anew; `DEALT_WITH`: there is no way to execute it.
   */
  private bindTypes(client: ClientStatement, prepared: Prepared, payloadLength: number): number {
    const { types: view } = this;
    if (view.isBroken) {
      prepared.types = UNKNOWN_TYPES;
      return SENT;
    }
    if (!view.hasTypes) return SENT;
    if (view.isSent) {
      prepared.types = client.types ?? UNKNOWN_TYPES;
      return SENT;
    }
    const { types } = client;
    if (types === prepared.types) return SENT;
    if (types === undefined) return client.tied === undefined ? WAIT : SENT;
    if (
      prepared.types !== undefined &&
      isSameBlock(types, prepared.types, 0, prepared.types.length)
    ) {
      prepared.types = types;
      return SENT;
    }
    // With them it would not fit into its packet any more; a client that is told so prepares it again.
    if (payloadLength + types.length >= PAYLOAD_MAX) return DEALT_WITH;
    prepared.types = types;
    return REPLACED;
  }

  private remember(client: ClientStatement, bytes: Buffer, from: number, to: number): void {
    const { own } = this;
    own.typed(client, undefined);
    if (!own.isFull) own.typed(client, client.base.typesIn(bytes, from, to));
  }

  private sendLongData(client: ClientStatement, bytes: Buffer, at: number, next: number): number {
    const { outlet } = this;
    const payload = at + HEADER_BYTES;
    if (client.refusal !== undefined) return DEALT_WITH;
    if (client.owed > 0) return WAIT;
    if (longDataParameterAt(bytes, payload, next) >= client.parameters) {
      client.refusal = wrongLongData(this.isMariaDb);
      return DEALT_WITH;
    }
    if (!this.acquire(bytes, at, client.base.effects)) return GONE;
    const { connection } = outlet;
    if (connection === undefined) return GONE;
    // It has no answer, so nothing would tell that another try at a COM_STMT_PREPARE must not break in.
    if (connection.statements.isPreparing) return WAIT;
    const { base, statement } = client;
    const { statements } = connection;
    const prepared = client.tied ?? statements.use(statement) ?? statements.become(base, statement);
    if (prepared === undefined) return this.prepareFirst(client, connection, bytes, at);
    this.tie(client, prepared, connection);
    client.hasLongData = true;
    writeStatementId(bytes, payload, prepared.id);
    return SENT;
  }

  private tie(client: ClientStatement, prepared: Prepared, connection: DatabaseConnection): void {
    if (client.tied === prepared) return;
    connection.statements.take(prepared);
    this.own.tie(client, prepared);
  }

  private fetch(client: ClientStatement, bytes: Buffer, payload: number): number {
    const { connection } = this.outlet;
    const { tied } = client;
    if (connection !== undefined && client.owed > 0 && !client.hasCursor) return WAIT;
    if (connection === undefined || tied === undefined || !client.hasCursor) {
      return this.refuse(cursorNotOpen(client.id, this.isMariaDb));
    }
    this.host.requested();
    connection.statements.useSent('fetch', client, this.own);
    connection.ledger.owe(OWES_ROWS | NOTED);
    writeStatementId(bytes, payload, tied.id);
    return SENT;
  }

  private reset(client: ClientStatement, bytes: Buffer, payload: number): number {
    const { host, outlet } = this;
    const { connection } = outlet;
    const { tied } = client;
    if (connection === undefined || tied === undefined) {
      // There is nothing that it would take away.
      if (connection?.ledger.isEmpty === false) return WAIT;
      client.refusal = undefined;
      host.pinged();
      return DEALT_WITH;
    }
    client.refusal = undefined;
    host.requested();
    connection.statements.useSent('reset', client, this.own);
    connection.ledger.owe(OWES_OK | NOTED);
    writeStatementId(bytes, payload, tied.id);
    return SENT;
  }

  private close(client: ClientStatement): number {
    const { host, outlet, own } = this;
    const { connection } = outlet;
    const { tied } = client;
    if (client.owed > 0) return WAIT;
    own.remove(client);
    if (connection !== undefined && tied !== undefined) connection.statements.discard(tied);
    if (client.isLarge) host.largeStatements(own.hasLarge);
    return DEALT_WITH;
  }
}

/** What is run before and behind a COM_STMT_PREPARE, so that the text is read as in `wanted`. */
function switches(
  wanted: Reading,
  current: Reading,
  capabilities: number,
): { readonly there: readonly Replay[]; readonly back: readonly Replay[] } {
  const there: Replay[] = [];
  const back: Replay[] = [];
  if (wanted.key === current.key) return { there, back };
  const to = wanted.settings.replayFrom(current.settings, capabilities);
  const from = current.settings.replayFrom(wanted.settings, capabilities);
  if (to !== undefined)
    there.push({ message: queryMessage(to, capabilities), owes: OWES_RESULT, name: to });
  if (from !== undefined)
    back.push({ message: queryMessage(from, capabilities), owes: OWES_RESULT, name: from });
  // A text that was prepared without a schema names one wherever it has to.
  if (wanted.schema !== '' && wanted.schema !== current.schema) {
    there.push(schemaReplay(wanted.schema));
    if (current.schema !== '') back.push(schemaReplay(current.schema));
  }
  return { there, back };
}
