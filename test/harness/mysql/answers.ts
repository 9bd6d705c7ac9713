/** The packets of a server's answers, taken apart, and as lines of text that can be compared. */

import { CAPABILITY, flagNames, STATUS, TYPE, typeName } from './constants.ts';
import { PayloadReader } from './fields.ts';

/** One packet as it came, put together again when it was longer than one frame. */
export interface Packet {
  /** Of its last frame. */
  readonly sequence: number;
  readonly payload: Buffer;
}

export interface SessionChange {
  /** `system_variable`, `schema`, `state`, `gtids`, `transaction_characteristics`, `transaction_state`, or a number. */
  readonly what: string;
  readonly name: string;
  readonly value: string;
}

export interface Ok {
  readonly kind: 'ok';
  /** Its header is that of EOF: it ends a result set. */
  readonly isEnd: boolean;
  readonly affectedRows: bigint;
  readonly lastInsertId: bigint;
  readonly status: number;
  readonly warnings: number;
  readonly info: string;
  readonly changes: readonly SessionChange[];
}

export interface ServerError {
  readonly kind: 'error';
  readonly code: number;
  /** Empty before the handshake is over. */
  readonly sqlState: string;
  readonly message: string;
}

export interface Eof {
  readonly kind: 'eof';
  readonly status: number;
  readonly warnings: number;
}

export interface Column {
  readonly kind: 'column';
  readonly catalog: string;
  readonly schema: string;
  readonly table: string;
  readonly originalTable: string;
  readonly name: string;
  readonly originalName: string;
  readonly charset: number;
  readonly length: number;
  readonly type: number;
  readonly flags: number;
  readonly decimals: number;
  /** MariaDB's extended metadata, and a default value (COM_FIELD_LIST), as they came. */
  readonly extra: string;
}

/** Values as text; those of the binary format are written as the text format would have them, as far as that is simple. */
export interface Row {
  readonly kind: 'row';
  readonly values: readonly (string | null)[];
}

export interface Prepared {
  readonly kind: 'prepared';
  readonly id: number;
  readonly columns: number;
  readonly parameters: number;
  readonly warnings: number;
}

/** One packet of an answer. */
export type Part = { readonly sequence: number } & (
  | Ok
  | ServerError
  | Eof
  | Column
  | Row
  | Prepared
  | { readonly kind: 'columns'; readonly count: number; readonly hasMetadata: boolean }
  /** The server asks for a local file. */
  | { readonly kind: 'infile'; readonly file: string }
  /** COM_STATISTICS. */
  | { readonly kind: 'text'; readonly text: string }
);

const CHANGES = [
  'system_variable',
  'schema',
  'state',
  'gtids',
  'transaction_characteristics',
  'transaction_state',
];

export function parseOk(payload: Buffer, capabilities: number): Ok {
  const reader = new PayloadReader(payload);
  const isEnd = reader.integer(1) === 0xfe;
  const affectedRows = reader.lengthEncodedInteger();
  const lastInsertId = reader.lengthEncodedInteger();
  const status = reader.integer(2);
  const warnings = reader.integer(2);
  const whole = { kind: 'ok', isEnd, affectedRows, lastInsertId, status, warnings } as const;
  if ((capabilities & CAPABILITY.SESSION_TRACK) === 0) {
    return { ...whole, info: reader.rest().toString(), changes: [] };
  }
  const info = reader.left > 0 ? reader.lengthEncoded().toString() : '';
  const hasChanges = (status & STATUS.SESSION_STATE_CHANGED) !== 0;
  const changes = hasChanges ? parseChanges(reader.lengthEncoded()) : [];
  return { ...whole, info, changes };
}

function parseChanges(payload: Buffer): SessionChange[] {
  const reader = new PayloadReader(payload);
  const changes: SessionChange[] = [];
  while (reader.left > 0) {
    const type = reader.integer(1);
    const what = CHANGES[type] ?? String(type);
    const data = new PayloadReader(reader.lengthEncoded());
    if (what === 'system_variable') {
      // MariaDB gives several in one.
      while (data.left > 0) {
        const name = data.lengthEncoded().toString();
        changes.push({ what, name, value: data.lengthEncoded().toString() });
      }
    } else if (what === 'gtids') {
      const name = String(data.integer(1));
      changes.push({ what, name, value: data.lengthEncoded().toString() });
    } else {
      // That of the state is one bare character.
      const isBare = what === 'state' || !CHANGES.includes(what);
      const value = isBare ? data.rest() : data.lengthEncoded();
      changes.push({ what, name: '', value: value.toString() });
    }
  }
  return changes;
}

export function parseError(payload: Buffer): ServerError {
  const code = payload.readUInt16LE(1);
  const hasState = payload[3] === 0x23;
  const sqlState = hasState ? payload.toString('latin1', 4, 9) : '';
  return { kind: 'error', code, sqlState, message: payload.toString('utf8', hasState ? 9 : 3) };
}

export function parseEof(payload: Buffer): Eof {
  return { kind: 'eof', warnings: payload.readUInt16LE(1), status: payload.readUInt16LE(3) };
}

export function parsePrepared(payload: Buffer): Prepared {
  return {
    kind: 'prepared',
    id: payload.readUInt32LE(1),
    columns: payload.readUInt16LE(5),
    parameters: payload.readUInt16LE(7),
    warnings: payload.length >= 12 ? payload.readUInt16LE(10) : 0,
  };
}

export function parseColumn(payload: Buffer, hasExtendedMetadata: boolean): Column {
  const reader = new PayloadReader(payload);
  const text = () => reader.lengthEncoded().toString();
  const catalog = text();
  const schema = text();
  const table = text();
  const originalTable = text();
  const name = text();
  const originalName = text();
  const extended = hasExtendedMetadata ? reader.lengthEncoded().toString('hex') : '';
  reader.lengthEncodedInteger();
  return {
    kind: 'column',
    catalog,
    schema,
    table,
    originalTable,
    name,
    originalName,
    charset: reader.integer(2),
    length: reader.integer(4),
    type: reader.integer(1),
    flags: reader.integer(2),
    decimals: reader.integer(1),
    extra: extended + reader.rest().subarray(2).toString('hex'),
  };
}

export function parseTextRow(payload: Buffer, columns: number): Row {
  const reader = new PayloadReader(payload);
  const values = Array.from({ length: columns }, () => {
    if (reader.payload[reader.at] !== 0xfb) return reader.lengthEncoded().toString();
    reader.at++;
    return null;
  });
  if (reader.left > 0) throw new Error(`a row with ${reader.left} bytes too many`);
  return { kind: 'row', values };
}

export function parseBinaryRow(payload: Buffer, columns: readonly Column[]): Row {
  const reader = new PayloadReader(payload, 1);
  const nulls = reader.bytes((columns.length + 9) >> 3);
  const values = columns.map((column, index) => {
    const isNull = ((nulls[(index + 2) >> 3] ?? 0) & (1 << ((index + 2) & 7))) !== 0;
    return isNull ? null : binaryValue(reader, column);
  });
  if (reader.left > 0) throw new Error(`a row with ${reader.left} bytes too many`);
  return { kind: 'row', values };
}

const UNSIGNED = 32;
const INTEGER_LENGTHS: ReadonlyMap<number, number> = new Map([
  [TYPE.TINY, 1],
  [TYPE.SHORT, 2],
  [TYPE.YEAR, 2],
  [TYPE.LONG, 4],
  [TYPE.INT24, 4],
  [TYPE.LONGLONG, 8],
]);
const TIMES: readonly number[] = [TYPE.DATE, TYPE.DATETIME, TYPE.TIMESTAMP, TYPE.TIME];

function binaryValue(reader: PayloadReader, { type, flags }: Column): string {
  const length = INTEGER_LENGTHS.get(type);
  if (length !== undefined) {
    const value = reader.big(length);
    return String((flags & UNSIGNED) === 0 ? BigInt.asIntN(length * 8, value) : value);
  }
  if (type === TYPE.FLOAT) return String(reader.bytes(4).readFloatLE());
  if (type === TYPE.DOUBLE) return String(reader.bytes(8).readDoubleLE());
  if (TIMES.includes(type)) return `x${reader.bytes(reader.integer(1)).toString('hex')}`;
  return reader.lengthEncoded().toString();
}

/** A line of text with everything of a part but its number in the sequence. */
export function formatPart(part: Part): string {
  switch (part.kind) {
    case 'ok':
      return formatOk(part);
    case 'error':
      return `ERR ${part.code} (${part.sqlState}) ${JSON.stringify(part.message)}`;
    case 'eof':
      return `EOF ${formatStatus(part)}`;
    case 'columns':
      return `Columns ${part.count}${part.hasMetadata ? '' : ' without metadata'}`;
    case 'column':
      return formatColumn(part);
    case 'row':
      return `Row ${part.values.map(formatValue).join(' ')}`;
    case 'prepared':
      return `Prepared columns=${part.columns} parameters=${part.parameters} warnings=${part.warnings}`;
    case 'infile':
      return `Infile ${JSON.stringify(part.file)}`;
    case 'text':
      return `Text ${JSON.stringify(part.text)}`;
  }
}

function formatOk(ok: Ok): string {
  const changes = ok.changes.map(
    ({ what, name, value }) => ` ${what} ${name}=${formatValue(value)}`,
  );
  return [
    `${ok.isEnd ? 'End' : 'OK'} rows=${ok.affectedRows} id=${ok.lastInsertId}`,
    ` ${formatStatus(ok)}`,
    ok.info === '' ? '' : ` info=${JSON.stringify(ok.info)}`,
    // In which order a server names several depends on what else it tracks.
    ...changes.sort(),
  ].join('');
}

function formatStatus({ status, warnings }: { status: number; warnings: number }): string {
  return `status=${flagNames(STATUS, status)} warnings=${warnings}`;
}

function formatColumn(column: Column): string {
  const { schema, table, originalTable, name, originalName, charset, length } = column;
  const origin = `${schema}.${table}(${originalTable}).${name}(${originalName})`;
  const extra = column.extra === '' ? '' : ` extra=${column.extra}`;
  const form = `${typeName(column.type)} length=${length} charset=${charset}`;
  return `Column ${origin} ${form} flags=${column.flags} decimals=${column.decimals}${extra}`;
}

const VALUE_LENGTH_MAX = 200;

function formatValue(value: string | null): string {
  if (value === null) return 'null';
  if (value.length <= VALUE_LENGTH_MAX) return JSON.stringify(value);
  const hash = Bun.hash(value).toString(16);
  return `${JSON.stringify(value.slice(0, 20))}…(${value.length} characters, hash ${hash})`;
}
