/** Messages that a database sends: those that the proxy makes for clients, and those it reads. */

import { type BerthError, ERRORS } from '../../../base/errors.ts';
import {
  AUTHENTICATION,
  BACKEND_KEY_DATA,
  cString,
  ERROR_RESPONSE,
  HEADER_BYTES,
  int32,
  int32At,
  message,
  NEGOTIATE_PROTOCOL_VERSION,
  NOTICE_RESPONSE,
  PARAMETER_STATUS,
  READY_FOR_QUERY,
  STATUS_FAILED,
  STATUS_IDLE,
  terminatorAt,
} from './messages.ts';

const TEXT_FIELD = 0x4d; // M
const DETAIL_FIELD = 0x44; // D
/** S and V: the same, in the language of the messages and in English. */
const SEVERITY_FIELDS: readonly number[] = [0x53, 0x56];

export const READY_IDLE = readyForQuery(STATUS_IDLE);
export const READY_FAILED = readyForQuery(STATUS_FAILED);

export function readyForQuery(status: number): Buffer {
  return message(READY_FOR_QUERY, Buffer.of(status));
}

export function authenticationMessage(body: Uint8Array): Buffer {
  return message(AUTHENTICATION, body);
}

export const AUTHENTICATION_OK = authenticationMessage(int32(0));

export function backendKeyData(processId: number, key: Uint8Array): Buffer {
  return message(BACKEND_KEY_DATA, int32(processId), key);
}

/** Name and value are latin1: the bytes as the database, or the client, gave them. */
export function parameterStatus(name: string, value: string): Buffer {
  return message(PARAMETER_STATUS, Buffer.from(`${name}\0${value}\0`, 'latin1'));
}

export function negotiateProtocolVersion(newest: number, unknown: readonly string[]): Buffer {
  return message(
    NEGOTIATE_PROTOCOL_VERSION,
    int32(newest),
    int32(unknown.length),
    ...unknown.map((name) => cString(name)),
  );
}

/** The version that a server says in a whole NegotiateProtocolVersion; 0 when it says none. */
export function readNegotiatedVersion(whole: Uint8Array): number {
  if (whole.length < HEADER_BYTES + 8) return 0;
  const version = int32At(whole, HEADER_BYTES);
  // The manual speaks of a minor version; PostgreSQL sends both numbers.
  return version >= 0 && version <= 0xffff ? (3 << 16) | version : version;
}

export type Severity = 'ERROR' | 'FATAL' | 'NOTICE';

/**
 * ErrorResponse or NoticeResponse with the fields that a server always sends: S, V, C, M, D when there
 * is a detail, and `more` of them by their letter.
 * https://www.postgresql.org/docs/current/protocol-error-fields.html
 */
function fields(
  severity: Severity,
  sqlState: string,
  text: string,
  detail: string | undefined,
  more: Readonly<Record<string, string>> = {},
) {
  const detailField = detail === undefined ? '' : `D${detail}\0`;
  const moreFields = Object.entries(more).map(([letter, value]) => `${letter}${value}\0`);
  const rest = `${detailField}${moreFields.join('')}`;
  return Buffer.from(`S${severity}\0V${severity}\0C${sqlState}\0M${text}\0${rest}\0`);
}

/**
 * The bytes that tell a client of `error`: the database's own message when the error carries one,
 * with its severity as it stands, else ours, with `more` fields that drivers look at.
 */
export function errorResponse(
  severity: 'ERROR' | 'FATAL',
  error: BerthError,
  more: Readonly<Record<string, string>> = {},
): Uint8Array {
  if (error.databaseMessage !== undefined) return error.databaseMessage;
  const { sqlState } = ERRORS[error.code];
  return message(ERROR_RESPONSE, fields(severity, sqlState, error.message, error.detail, more));
}

/** A database's error, told to a client with another severity. Every field is kept as it came. */
export function errorFromFields(
  severity: 'ERROR' | 'FATAL',
  fields: ReadonlyMap<string, string>,
): Buffer {
  return errorMessage(new Map(fields).set('S', severity).set('V', severity));
}

/** An ErrorResponse of these fields, by their letter. */
function errorMessage(fields: ReadonlyMap<string, string>): Buffer {
  const body = [...fields].map(([letter, value]) => `${letter}${value}\0`).join('');
  return message(ERROR_RESPONSE, Buffer.from(`${body}\0`));
}

/** SQLSTATE 01000, warning. */
export function noticeResponse(text: string): Buffer {
  return message(NOTICE_RESPONSE, fields('NOTICE', '01000', text, undefined));
}

/** The fields of an ErrorResponse or NoticeResponse, by their letter; tolerant of anything missing. */
export function readFields(whole: Uint8Array): ReadonlyMap<string, string> {
  const bytes = Buffer.from(whole.buffer, whole.byteOffset, whole.length);
  const found = new Map<string, string>();
  let at = HEADER_BYTES;
  while (at < bytes.length && bytes[at] !== 0) {
    const end = terminatorAt(bytes, at + 1, bytes.length);
    if (end < 0) break;
    found.set(String.fromCharCode(bytes[at]), bytes.toString('utf8', at + 1, end));
    at = end + 1;
  }
  return found;
}

/**
 * A whole ErrorResponse with another text in its field M, in latin1, and every other byte as it is;
 * `undefined` when `change` has nothing to change.
 */
export function withErrorText(
  whole: Uint8Array,
  change: (text: string) => string | undefined,
): Buffer | undefined {
  const bytes = Buffer.from(whole.buffer, whole.byteOffset, whole.length);
  let at = HEADER_BYTES;
  while (at < bytes.length && bytes[at] !== 0) {
    const end = terminatorAt(bytes, at + 1, bytes.length);
    if (end < 0) return undefined;
    if (bytes[at] === TEXT_FIELD) {
      const text = change(bytes.toString('latin1', at + 1, end));
      if (text === undefined) return undefined;
      const before = bytes.subarray(HEADER_BYTES, at + 1);
      return message(ERROR_RESPONSE, before, Buffer.from(text, 'latin1'), bytes.subarray(end));
    }
    at = end + 1;
  }
  return undefined;
}

/**
 * A database's last word as the error of a request: of another severity, with `detail` if it has none, and
 * every other byte as it is.
 */
export function lastWordAsError(whole: Uint8Array, detail: string): Buffer {
  const bytes = Buffer.from(whole.buffer, whole.byteOffset, whole.length);
  const kept: Uint8Array[] = [Buffer.from('SERROR\0VERROR\0')];
  let hasDetail = false;
  let at = HEADER_BYTES;
  while (at < bytes.length && bytes[at] !== 0) {
    const end = terminatorAt(bytes, at + 1, bytes.length);
    if (end < 0) break;
    const letter = bytes[at];
    hasDetail ||= letter === DETAIL_FIELD;
    if (!SEVERITY_FIELDS.includes(letter)) kept.push(bytes.subarray(at, end + 1));
    at = end + 1;
  }
  if (!hasDetail) kept.push(Buffer.from(`D${detail}\0`));
  return message(ERROR_RESPONSE, ...kept, Buffer.alloc(1));
}

/** Name and value of a whole ParameterStatus message; `undefined` when it is malformed. */
export function readParameterStatus(whole: Uint8Array): readonly [string, string] | undefined {
  const bytes = Buffer.from(whole.buffer, whole.byteOffset, whole.length);
  const nameEnd = terminatorAt(bytes, HEADER_BYTES, bytes.length);
  const valueEnd = nameEnd < 0 ? -1 : terminatorAt(bytes, nameEnd + 1, bytes.length);
  if (valueEnd < 0) return undefined;
  return [
    bytes.toString('latin1', HEADER_BYTES, nameEnd),
    bytes.toString('latin1', nameEnd + 1, valueEnd),
  ];
}
