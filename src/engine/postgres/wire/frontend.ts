/** Messages that a client sends: those that the proxy itself sends to a database, and start-up. */

import {
  BIND,
  CLOSE,
  COPY_DATA,
  COPY_DONE,
  COPY_FAIL,
  cString,
  DESCRIBE,
  EXECUTE,
  FLUSH,
  FUNCTION_CALL,
  int32,
  int32At,
  LARGE_MESSAGE_MAX,
  message,
  PARSE,
  PASSWORD,
  QUERY,
  SMALL_MESSAGE_MAX,
  SYNC,
  TERMINATE,
  terminatorAt,
} from './messages.ts';

/** `MAX_STARTUP_PACKET_LENGTH` in src/include/libpq/pqcomm.h, and the length itself. */
export const STARTUP_PACKET_MAX = 10_004;
export const SSL_REQUEST = 80877103;
export const GSSENC_REQUEST = 80877104;
export const CANCEL_REQUEST = 80877102;
export const PROTOCOL_3_0 = 3 << 16;
/** PostgreSQL 18. 3.1 was never used by a server. */
export const PROTOCOL_3_2 = (3 << 16) | 2;

export const SYNC_MESSAGE = message(SYNC);
export const FLUSH_MESSAGE = message(FLUSH);
/** Close of the unnamed statement. */
export const CLOSE_UNNAMED_MESSAGE = message(CLOSE, Buffer.from('S\0'));
/** Execute of a portal that nobody has: an error, whatever went before it. */
export const EXECUTE_NOTHING_MESSAGE = message(EXECUTE, cString('berth: no portal'), int32(0));
export const TERMINATE_MESSAGE = message(TERMINATE);
export const SSL_REQUEST_MESSAGE = Buffer.concat([int32(8), int32(SSL_REQUEST)]);

export function queryMessage(sql: string, encoding: 'utf8' | 'latin1' = 'utf8'): Buffer {
  return message(QUERY, Buffer.from(`${sql}\0`, encoding));
}

export function passwordMessage(body: Uint8Array): Buffer {
  return message(PASSWORD, body);
}

/** A Parse without parameter types. */
export function parseMessage(name: string, sql: string): Buffer {
  return message(PARSE, cString(name), cString(sql), Buffer.alloc(2));
}

/** The header of a Parse of the statement `name`, whose body has `length` bytes after the name. */
export function parseHeader(name: string, length: number): Buffer {
  const names = Buffer.from(`${name}\0`, 'latin1');
  return Buffer.concat([Buffer.of(PARSE), int32(4 + names.length + length), names]);
}

/** Where a Bind's two names and the message itself end. */
export interface BindExtent {
  readonly portalEnd: number;
  readonly nameEnd: number;
  readonly next: number;
}

/**
 * The beginning of the Bind at `bytes[at]`, up to what follows the name of the statement, with
 * `name` in place of that.
 */
export function renamedBindHeader(
  bytes: Buffer,
  at: number,
  { portalEnd, nameEnd, next }: BindExtent,
  name: string,
): Buffer {
  const nameAt = portalEnd + 1 - at;
  const header = Buffer.allocUnsafe(nameAt + name.length + 1);
  bytes.copy(header, 0, at, portalEnd + 1);
  header.writeInt32BE(header.length + next - nameEnd - 2, 1);
  header.write(name, nameAt, 'latin1');
  header[header.length - 1] = 0;
  return header;
}

export function describeStatementMessage(name: string): Buffer {
  return message(DESCRIBE, Buffer.from(`S${name}\0`, 'latin1'));
}

export function closeStatementMessage(name: string): Buffer {
  return message(CLOSE, Buffer.from(`S${name}\0`, 'latin1'));
}

/** `portal` is latin1. */
export function describePortalMessage(portal: string): Buffer {
  return message(DESCRIBE, Buffer.from(`P${portal}\0`, 'latin1'));
}

export function closePortalMessage(portal: string): Buffer {
  return message(CLOSE, Buffer.from(`P${portal}\0`, 'latin1'));
}

/** Without parameters; results are text. */
export function bindMessage(portal: string, statement: string): Buffer {
  return message(BIND, Buffer.from(`${portal}\0${statement}\0`, 'latin1'), Buffer.alloc(6));
}

export function copyFailMessage(reason: string): Buffer {
  return message(COPY_FAIL, cString(reason));
}

/** Names and values are latin1: byte for byte as they are to arrive. */
export function startupMessage(
  protocol: number,
  parameters: Iterable<readonly [string, string]>,
): Buffer {
  const pairs = [...parameters].map(([name, value]) => `${name}\0${value}\0`);
  const body = Buffer.from(`${pairs.join('')}\0`, 'latin1');
  return Buffer.concat([int32(8 + body.length), int32(protocol), body]);
}

/** `key` is what the database sent in BackendKeyData: 4 bytes, up to 256 since protocol 3.2. */
export function cancelRequestMessage(processId: number, key: Uint8Array): Buffer {
  return Buffer.concat([int32(12 + key.length), int32(CANCEL_REQUEST), int32(processId), key]);
}

/** The largest `length` field that a server takes for `type`, or 0 for a type that it does not know. */
export function lengthMaxOf(type: number): number {
  switch (type) {
    case QUERY:
    case PARSE:
    case BIND:
    case FUNCTION_CALL:
    case COPY_DATA:
      return LARGE_MESSAGE_MAX;
    case EXECUTE:
    case DESCRIBE:
    case CLOSE:
    case SYNC:
    case FLUSH:
    case TERMINATE:
    case COPY_DONE:
    case COPY_FAIL:
      return SMALL_MESSAGE_MAX;
    default:
      return 0;
  }
}

export interface StartupPacket {
  readonly protocol: number;
  /** In the order sent; a repeated name keeps its last value, as in a server. */
  readonly parameters: ReadonlyMap<string, string>;
}

/**
 * Reads the body of a StartupMessage (all after the length). Returns what is wrong as a string.
 * Values are kept byte for byte (latin1): start-up happens before any encoding is known.
 */
export function readStartup(body: Uint8Array): StartupPacket | string {
  const protocol = int32At(body, 0);
  const parameters = new Map<string, string>();
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.length);
  let at = 4;
  while (at < body.length && bytes[at] !== 0) {
    const nameEnd = terminatorAt(bytes, at, body.length);
    const valueEnd = nameEnd < 0 ? -1 : terminatorAt(bytes, nameEnd + 1, body.length);
    if (valueEnd < 0) return 'expected terminator as last byte';
    parameters.set(
      bytes.toString('latin1', at, nameEnd),
      bytes.toString('latin1', nameEnd + 1, valueEnd),
    );
    at = valueEnd + 1;
  }
  if (at !== body.length - 1) return 'invalid startup packet layout';
  return { protocol, parameters };
}
