/** The payloads of a client's commands. */

import { CAPABILITY, COMMAND, TYPE } from './constants.ts';
import { PayloadWriter } from './fields.ts';

/** A parameter of a prepared statement; a value is written as its type has it. */
export type MysqlParameter =
  | null
  | string
  | number
  | bigint
  | Buffer
  | { readonly type: number; readonly bytes: Buffer | null; readonly isUnsigned?: boolean };

export interface QueryAttribute {
  readonly name: string;
  readonly value: MysqlParameter;
}

/** A command without more than text, such as COM_INIT_DB, or without anything, such as COM_PING. */
export function command(code: number, rest: Uint8Array | string = ''): Buffer {
  return new PayloadWriter().integer(code, 1).bytes(rest).payload;
}

export function query(
  sql: string | Uint8Array,
  capabilities = 0,
  attributes: readonly QueryAttribute[] = [],
): Buffer {
  const writer = new PayloadWriter().integer(COMMAND.QUERY, 1);
  if ((capabilities & CAPABILITY.QUERY_ATTRIBUTES) !== 0) {
    writer.lengthEncodedInteger(attributes.length).lengthEncodedInteger(1);
    if (attributes.length > 0) {
      writeValues(
        writer,
        attributes.map(({ value }) => value),
        {
          hasTypes: true,
          names: attributes.map(({ name }) => name),
        },
      );
    }
  }
  return writer.bytes(sql).payload;
}

export interface ExecuteOptions {
  /** Default: none. 1 is read-only. */
  readonly cursor?: number;
  /** Whether the types are sent; default: yes. */
  readonly hasTypes?: boolean;
  /** The capabilities of the connection: with QUERY_ATTRIBUTES the form is another one. */
  readonly capabilities?: number;
  /** Parameters whose values went ahead by COM_STMT_SEND_LONG_DATA. */
  readonly longData?: readonly number[];
}

const PARAMETER_COUNT_AVAILABLE = 8;

export function execute(
  statement: number,
  parameters: readonly MysqlParameter[] = [],
  options: ExecuteOptions = {},
): Buffer {
  const { cursor = 0, hasTypes = true, capabilities = 0, longData = [] } = options;
  const hasAttributes = (capabilities & CAPABILITY.QUERY_ATTRIBUTES) !== 0;
  const flags =
    hasAttributes && parameters.length > 0 ? cursor | PARAMETER_COUNT_AVAILABLE : cursor;
  const writer = new PayloadWriter().integer(COMMAND.STMT_EXECUTE, 1);
  writer.integer(statement, 4).integer(flags, 1).integer(1, 4);
  if (parameters.length === 0) return writer.payload;
  if (hasAttributes) writer.lengthEncodedInteger(parameters.length);
  const names = hasAttributes ? parameters.map(() => '') : undefined;
  writeValues(writer, parameters, { hasTypes, names, longData });
  return writer.payload;
}

function writeValues(
  writer: PayloadWriter,
  values: readonly MysqlParameter[],
  options: {
    readonly hasTypes: boolean;
    readonly names?: readonly string[] | undefined;
    readonly longData?: readonly number[];
  },
): void {
  const { hasTypes, names, longData = [] } = options;
  const typed = values.map(typedValue);
  const nulls = Buffer.alloc((values.length + 7) >> 3);
  for (const [index, { bytes }] of typed.entries()) {
    if (bytes === null) nulls[index >> 3] = (nulls[index >> 3] ?? 0) | (1 << (index & 7));
  }
  writer.bytes(nulls).integer(hasTypes ? 1 : 0, 1);
  for (const [index, { type, isUnsigned }] of hasTypes ? typed.entries() : []) {
    writer.integer(type, 1).integer(isUnsigned === true ? 0x80 : 0, 1);
    if (names !== undefined) writer.lengthEncoded(names[index] ?? '');
  }
  for (const [index, { bytes }] of typed.entries()) {
    if (bytes !== null && !longData.includes(index)) writer.bytes(bytes);
  }
}

type TypedValue = Exclude<MysqlParameter, null | string | number | bigint | Buffer>;

function typedValue(value: MysqlParameter): TypedValue {
  if (value === null) return { type: TYPE.NULL, bytes: null };
  if (typeof value === 'string') return { type: TYPE.VAR_STRING, bytes: lengthEncoded(value) };
  if (Buffer.isBuffer(value)) return { type: TYPE.BLOB, bytes: lengthEncoded(value) };
  if (typeof value === 'number' && !Number.isSafeInteger(value)) {
    const bytes = Buffer.alloc(8);
    bytes.writeDoubleLE(value);
    return { type: TYPE.DOUBLE, bytes };
  }
  if (typeof value === 'number' || typeof value === 'bigint') {
    return { type: TYPE.LONGLONG, bytes: new PayloadWriter().integer(value, 8).payload };
  }
  return value;
}

function lengthEncoded(value: Uint8Array | string): Buffer {
  return new PayloadWriter().lengthEncoded(value).payload;
}

export function sendLongData(
  statement: number,
  parameter: number,
  data: Uint8Array | string,
): Buffer {
  const writer = new PayloadWriter().integer(COMMAND.STMT_SEND_LONG_DATA, 1);
  return writer.integer(statement, 4).integer(parameter, 2).bytes(data).payload;
}

export function fetchRows(statement: number, rows: number): Buffer {
  return new PayloadWriter().integer(COMMAND.STMT_FETCH, 1).integer(statement, 4).integer(rows, 4)
    .payload;
}

/** COM_STMT_CLOSE or COM_STMT_RESET. */
export function statementCommand(code: number, statement: number): Buffer {
  return new PayloadWriter().integer(code, 1).integer(statement, 4).payload;
}

/** https://mariadb.com/docs/server/reference/clientserver-protocol/3-binary-protocol-prepared-statements/com_stmt_bulk_execute */
export function bulkExecute(
  statement: number,
  rows: readonly (readonly (string | number | null)[])[],
  flags = 128,
): Buffer {
  const writer = new PayloadWriter().integer(COMMAND.STMT_BULK_EXECUTE, 1);
  writer.integer(statement, 4).integer(flags, 2);
  for (const value of rows[0] ?? []) {
    writer.integer(typedValue(value).type, 1).integer(0, 1);
  }
  for (const value of rows.flat()) {
    const { bytes } = typedValue(value);
    writer.integer(bytes === null ? 1 : 0, 1);
    if (bytes !== null) writer.bytes(bytes);
  }
  return writer.payload;
}
