/**
 * What a connection's replies say about prepared statements and the schema that they were prepared in:
 * that they are there, are gone, have become others; and its errors, in the words of the client.
 */

import { BerthError } from '../../../base/errors.ts';
import type { ConnectionHolder } from '../database-connection.ts';
import { KIND, LedgerViolation, MUST_FAIL, OWES_DESCRIBE, type ReplyLedger } from '../ledger.ts';
import { errorResponse, withErrorText } from '../wire/backend.ts';
import { message, PARAMETER_DESCRIPTION, ROW_DESCRIPTION, STATUS_IDLE } from '../wire/messages.ts';
import { ConnectionStatements, type SchemaGeneration } from './connection-statements.ts';
import { inClientsWords } from './names.ts';

/** The first two letters of command tags. */
const TAG_ALTER = 0x414c;
const TAG_CREATE = 0x4352;
const TAG_DEALLOCATE = 0x4445;
const TAG_DISCARD = 0x4449;
const TAG_DROP = 0x4452;
/** The function of the server that finds that a statement's rows have become others. */
const STALE_PLAN_ROUTINE = 'RevalidateCachedQuery';
/** The functions of the server whose errors name a statement. */
const NAMING_ROUTINES: ReadonlySet<string> = new Set([
  'EvaluateParams',
  'FetchPreparedStatement',
  'StorePreparedStatement',
  'exec_bind_message',
]);
/** invalid_sql_statement_name */
const NO_SUCH_STATEMENT = '26000';
const RESULT_TYPE_CHANGED_MESSAGE = errorResponse('ERROR', new BerthError('result_type_changed'), {
  F: 'plancache.c',
  R: STALE_PLAN_ROUTINE,
});
const EMPTY = Buffer.alloc(0);

export class StatementReplies {
  readonly statements: ConnectionStatements;
  /** Of the statement that the client wants described, and that is not what it was. */
  parametersTold: Buffer | undefined = undefined;
  private readonly schema: SchemaGeneration;
  /** The parameters in the answer to a Describe of ours. */
  private parameterTypes = EMPTY;
  /** A statement has changed the schema, and its transaction is not over. */
  private hasChangedSchema = false;

  constructor(schema: SchemaGeneration) {
    this.schema = schema;
    this.statements = new ConnectionStatements(schema);
  }

  /** The body of the answer to a Describe of ours. */
  parametersDescribed(body: Uint8Array): void {
    this.parameterTypes = Buffer.from(body);
  }

  /** `undefined`: the description of its rows was malformed. */
  described(rows: string | undefined, holder: ConnectionHolder | undefined): void {
    if (rows === undefined) throw new LedgerViolation(ROW_DESCRIPTION, -4);
    const { parameterTypes } = this;
    const difference = this.statements.described({ parameterTypes, rows });
    if (difference === undefined) return;
    // Others may have become others too: what is prepared from here on is prepared anew.
    this.schema.generation++;
    holder?.statementChanged(difference);
  }

  /**
   * What was done is known by what it answers, however it was asked for. `isNoted`: what it takes away
   * was noted when it was sent. Returns whether it was DISCARD ALL.
   */
  completed(
    bytes: Buffer,
    from: number,
    to: number,
    isNoted: boolean,
    holder: ConnectionHolder | undefined,
  ): boolean {
    const beginning = (bytes[from] << 8) | bytes[from + 1];
    if (beginning === TAG_ALTER || beginning === TAG_CREATE || beginning === TAG_DROP) {
      this.schema.generation++;
      this.hasChangedSchema = true;
    } else if (beginning === TAG_DEALLOCATE || beginning === TAG_DISCARD) {
      return this.cleaned(bytes.toString('latin1', from, to - 1), isNoted, holder);
    }
    return false;
  }

  private cleaned(tag: string, isNoted: boolean, holder: ConnectionHolder | undefined): boolean {
    if (tag !== 'DEALLOCATE ALL' && tag !== 'DISCARD ALL') return false;
    if (!isNoted) {
      this.statements.lose();
      holder?.statementsCleared();
    }
    return tag === 'DISCARD ALL';
  }

  /**
   * A ReadyForQuery came. When the transaction that changed the schema is over: what others have prepared
   * since may be of either schema, now that the change is there for them too, or undone; and what this
   * transaction has prepared may be of one that was never there.
   */
  ready(status: number): void {
    if (!this.hasChangedSchema || status !== STATUS_IDLE) return;
    this.hasChangedSchema = false;
    this.schema.generation++;
    this.statements.ended(true);
  }

  /**
   * A request failed, and what was to come of statements with it. `head` is that of the ledger before the
   * error. Returns what the client is told in the error's place.
   */
  failed(
    fields: ReadonlyMap<string, string>,
    head: number,
    ledger: ReplyLedger,
    holder: ConnectionHolder | undefined,
  ): Uint8Array | undefined {
    this.undo(ledger, holder);
    // Somebody past the proxy has changed the schema, or a function has: what is prepared from here
    // on is prepared anew. Who has the statement still has what it was.
    if (fields.get('R') === STALE_PLAN_ROUTINE) this.schema.generation++;
    const isMeantToFail = (head & MUST_FAIL) !== 0 && fields.get('C') === NO_SUCH_STATEMENT;
    return isMeantToFail ? this.resultTypeChanged(head & KIND) : undefined;
  }

  /** A server that is asked for a description tells of the parameters before it finds out. */
  private resultTypeChanged(kind: number): Uint8Array {
    const { parametersTold } = this;
    if (kind !== OWES_DESCRIBE || parametersTold === undefined) return RESULT_TYPE_CHANGED_MESSAGE;
    const parameters = message(PARAMETER_DESCRIPTION, parametersTold);
    return Buffer.concat([parameters, RESULT_TYPE_CHANGED_MESSAGE]);
  }

  private undo(ledger: ReplyLedger, holder: ConnectionHolder | undefined): void {
    this.statements.failed();
    if (ledger.connectionChangesLost > 0) this.statements.undo(ledger.connectionChangesLost);
    if (ledger.clientChangesLost > 0) holder?.statementsLost(ledger.clientChangesLost);
    ledger.connectionChangesLost = 0;
    ledger.clientChangesLost = 0;
  }

  /** An error that names a statement as the connection knows it, with the client's name for it. */
  inClientsWords(
    whole: Uint8Array,
    fields: ReadonlyMap<string, string>,
    holder: ConnectionHolder | undefined,
  ): Uint8Array | undefined {
    if (!NAMING_ROUTINES.has(fields.get('R') ?? '')) return undefined;
    return withErrorText(whole, (text) => inClientsWords(text, (name) => holder?.nameOf(name)));
  }
}
