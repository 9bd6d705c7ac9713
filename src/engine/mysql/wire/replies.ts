/**
 * OK, ERR and EOF packets: read and made.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_ok_packet.html
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_err_packet.html
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_basic_eof_packet.html
 *
 * A payload is given without its header. `okStatusAt` and `okStateAt` allocate nothing, for the hot
 * path; `readOk` reads the whole packet.
 */

import type { BerthError } from '../../../base/errors.ts';
import {
  CLIENT_SESSION_TRACK,
  EOF_HEADER,
  ERR_HEADER,
  has,
  OK_HEADER,
  SERVER_SESSION_STATE_CHANGED,
  SERVER_STATUS_AUTOCOMMIT,
} from './capabilities.ts';
import {
  int16,
  int16At,
  lenencAt,
  lenencBytes,
  lenencString,
  PayloadReader,
  packet,
} from './packets.ts';

/** Header, warnings and status of an EOF packet; anything longer that begins with 0xfe is an OK packet or a row. */
export const EOF_BYTES = 5;

const SQL_STATE_MARKER = 0x23; // #
const SQL_STATE_BYTES = 5;
const EMPTY = Buffer.alloc(0);
/** No affected rows, and no insert id. */
const NO_COUNTS = Buffer.of(0, 0);

// --- OK

export interface Ok {
  /** The affected rows and the last insert id, as they are written: a number cannot hold each of them. */
  readonly counts: Uint8Array;
  readonly status: number;
  readonly warnings: number;
  readonly info: Buffer;
  /** The entries of the session state, unread; see `readSessionState`. */
  readonly state: Buffer;
}

/**
 * Where the status flags of the OK payload at `at` are, or -1 when they are not before `end`; the
 * warnings follow in the next two bytes.
 */
export function okStatusAt(bytes: Uint8Array, at: number, end: number): number {
  const lastInsertId = okLastInsertIdAt(bytes, at, end);
  if (lastInsertId < 0) return -1;
  const width = lenencBytes(bytes[lastInsertId]);
  const status = lastInsertId + width;
  return width > 0 && status + 4 <= end ? status : -1;
}

/** Where the last insert id of the OK payload at `at` is, a lenenc integer that may be cut; else -1. */
export function okLastInsertIdAt(bytes: Uint8Array, at: number, end: number): number {
  if (at + 1 >= end) return -1;
  const width = lenencBytes(bytes[at + 1]);
  const lastInsertId = at + 1 + width;
  return width > 0 && lastInsertId < end ? lastInsertId : -1;
}

/**
 * Where the entries of the session state begin, of the OK payload at `at` from a server that tracks,
 * or -1 when it has none. They reach to `end`. Nothing here can be wrong that is inside of `end`: a
 * length that lies gives an entry that does.
 */
export function okStateAt(bytes: Uint8Array, at: number, end: number): number {
  const status = okStatusAt(bytes, at, end);
  if (status < 0 || (int16At(bytes, status) & SERVER_SESSION_STATE_CHANGED) === 0) return -1;
  const info = status + 4;
  if (info >= end) return -1;
  const infoWidth = lenencBytes(bytes[info]);
  if (infoWidth === 0 || info + infoWidth > end) return -1;
  const state = info + infoWidth + lenencAt(bytes, info);
  if (state >= end) return -1;
  const stateWidth = lenencBytes(bytes[state]);
  return stateWidth > 0 && state + stateWidth <= end ? state + stateWidth : -1;
}

/** Undefined when it is not an OK packet of `capabilities`. Views of `payload`. */
export function readOk(payload: Uint8Array, capabilities: number): Ok | undefined {
  const reader = new PayloadReader(payload);
  const header = reader.int8();
  if (header !== OK_HEADER && header !== EOF_HEADER) return undefined;
  reader.lenenc();
  reader.lenenc();
  const counts = payload.subarray(1, payload.length - reader.left);
  const numbers = { counts, status: reader.int16(), warnings: reader.int16() };
  const isTracking = has(capabilities, CLIENT_SESSION_TRACK);
  // A server that has nothing more to say leaves even the lengths out.
  const info = reader.left > 0 ? reader.lenencBytes() : EMPTY;
  const hasState = isTracking && (numbers.status & SERVER_SESSION_STATE_CHANGED) !== 0;
  const state = hasState ? reader.lenencBytes() : EMPTY;
  return reader.isBroken ? undefined : { ...numbers, info, state };
}

export interface OkFields {
  readonly header?: typeof OK_HEADER | typeof EOF_HEADER;
  /** As in `Ok`; default: none of either. */
  readonly counts?: Uint8Array;
  /** Default: autocommit, no transaction. SERVER_SESSION_STATE_CHANGED is set as it has to be. */
  readonly status?: number;
  readonly warnings?: number;
  readonly info?: string | Uint8Array;
  /** As `sessionState` makes them. */
  readonly state?: Uint8Array;
}

/** What a client of `capabilities` reads; the session state only if it asked for that. */
export function okPacket(sequence: number, capabilities: number, fields: OkFields = {}): Buffer {
  const { header = OK_HEADER, counts = NO_COUNTS, warnings = 0 } = fields;
  const { status = SERVER_STATUS_AUTOCOMMIT, info = EMPTY, state = EMPTY } = fields;
  const isTracking = has(capabilities, CLIENT_SESSION_TRACK);
  const hasState = isTracking && state.length > 0;
  const flags = hasState
    ? status | SERVER_SESSION_STATE_CHANGED
    : status & ~SERVER_SESSION_STATE_CHANGED;
  const text = typeof info === 'string' ? Buffer.from(info) : info;
  return packet(
    sequence,
    Buffer.of(header),
    counts,
    int16(flags),
    int16(warnings),
    // The manual has a plain text for clients that do not track; servers give the length to everybody.
    hasState || text.length > 0 ? lenencString(text) : EMPTY,
    hasState ? lenencString(state) : EMPTY,
  );
}

// --- Session state

export interface StateEntry {
  readonly type: number;
  readonly data: Buffer;
}

/** Undefined when it cannot be read. Views of `state`. */
export function readSessionState(state: Uint8Array): StateEntry[] | undefined {
  const entries: StateEntry[] = [];
  const reader = new PayloadReader(state);
  while (reader.left > 0) entries.push({ type: reader.int8(), data: reader.lenencBytes() });
  return reader.isBroken ? undefined : entries;
}

export function sessionState(entries: readonly StateEntry[]): Buffer {
  return Buffer.concat(entries.flatMap(({ type, data }) => [Buffer.of(type), lenencString(data)]));
}

/**
 * Names and values of an entry about system variables: MySQL and MariaDB send one entry for each, and
 * may send several in one. Undefined when it cannot be read.
 */
export function readSystemVariables(data: Uint8Array): [name: Buffer, value: Buffer][] | undefined {
  const variables: [Buffer, Buffer][] = [];
  const reader = new PayloadReader(data);
  while (reader.left > 0) variables.push([reader.lenencBytes(), reader.lenencBytes()]);
  return reader.isBroken ? undefined : variables;
}

/** The text of an entry that holds one: the schema, the state of the transaction. */
export function readStateText(data: Uint8Array): Buffer | undefined {
  const reader = new PayloadReader(data);
  const text = reader.lenencBytes();
  return reader.isBroken ? undefined : text;
}

// --- Rows

/** The text of each column; `undefined` for NULL. */
export type TextRow = readonly (string | undefined)[];

/** A row of the text protocol; undefined when it cannot be read. */
export function readTextRow(payload: Uint8Array): TextRow | undefined {
  const row: (string | undefined)[] = [];
  const reader = new PayloadReader(payload);
  while (reader.left > 0) row.push(reader.textOrNull());
  return reader.isBroken ? undefined : row;
}

// --- EOF

export function eofPacket(sequence: number, status: number, warnings = 0): Buffer {
  return packet(sequence, Buffer.of(EOF_HEADER), int16(warnings), int16(status));
}

/** The status of an EOF payload; undefined when it is none. */
export function eofStatus(payload: Uint8Array): number | undefined {
  if (payload.length !== EOF_BYTES || payload[0] !== EOF_HEADER) return undefined;
  return int16At(payload, 3);
}

// --- ERR

export interface ServerError {
  readonly errno: number;
  /** `HY000` when the server sent none. */
  readonly sqlState: string;
  readonly text: string;
}

/** Undefined when it is no ERR packet. Before the log-in there is no SQLSTATE, nor with the old protocol. */
export function readError(payload: Uint8Array): ServerError | undefined {
  const reader = new PayloadReader(payload);
  if (reader.int8() !== ERR_HEADER) return undefined;
  const errno = reader.int16();
  const hasState = payload[3] === SQL_STATE_MARKER && payload.length >= 4 + SQL_STATE_BYTES;
  if (hasState) reader.int8();
  const sqlState = hasState ? reader.take(SQL_STATE_BYTES).toString('latin1') : 'HY000';
  const text = reader.rest().toString();
  return reader.isBroken ? undefined : { errno, sqlState, text };
}

/** The number of the ERR payload at `at`. */
export function errnoAt(bytes: Uint8Array, at: number): number {
  return int16At(bytes, at + 1);
}

/** As a server says it after the log-in. */
export function errorPayload({ errno, sqlState, text }: ServerError): Buffer {
  return Buffer.concat([
    Buffer.of(ERR_HEADER, errno, errno >> 8),
    Buffer.from(`#${sqlState}${text}`),
  ]);
}

export function serverErrorPacket(sequence: number, error: ServerError): Buffer {
  return packet(sequence, errorPayload(error));
}

/** What a client reads that has had no greeting yet: without SQLSTATE, as from servers. */
export function errorInsteadOfGreeting(error: BerthError): Buffer {
  const { errno, text } = error.forMySql;
  return packet(0, Buffer.of(ERR_HEADER, errno, errno >> 8), Buffer.from(text));
}

/**
 * The bytes that tell a client of `error`: the database's own payload when the error carries one,
 * else ours.
 */
export function errorPacket(sequence: number, error: BerthError): Buffer {
  if (error.databaseMessage !== undefined) return packet(sequence, error.databaseMessage);
  return serverErrorPacket(sequence, error.forMySql);
}
