/**
 * Message types and the frame of protocol 3.x: one type byte, an Int32 length that counts itself,
 * the body. https://www.postgresql.org/docs/current/protocol-message-formats.html
 *
 * Plain constants, not an object: the hot path switches on them.
 */

/** Type byte and length. */
export const HEADER_BYTES = 5;

// Sent by clients.
export const BIND = 0x42; // B
export const CLOSE = 0x43; // C
export const COPY_FAIL = 0x66; // f
export const DESCRIBE = 0x44; // D
export const EXECUTE = 0x45; // E
export const FLUSH = 0x48; // H
export const FUNCTION_CALL = 0x46; // F
export const PARSE = 0x50; // P
/** PasswordMessage, SASLInitialResponse and SASLResponse share it; the state tells them apart. */
export const PASSWORD = 0x70; // p
export const QUERY = 0x51; // Q
export const SYNC = 0x53; // S
export const TERMINATE = 0x58; // X

// Sent by both.
export const COPY_DATA = 0x64; // d
export const COPY_DONE = 0x63; // c

// Sent by databases.
export const AUTHENTICATION = 0x52; // R
export const BACKEND_KEY_DATA = 0x4b; // K
export const BIND_COMPLETE = 0x32; // 2
export const CLOSE_COMPLETE = 0x33; // 3
export const COMMAND_COMPLETE = 0x43; // C
export const COPY_IN_RESPONSE = 0x47; // G
export const COPY_BOTH_RESPONSE = 0x57; // W
export const DATA_ROW = 0x44; // D
export const EMPTY_QUERY_RESPONSE = 0x49; // I
export const ERROR_RESPONSE = 0x45; // E
export const FUNCTION_CALL_RESPONSE = 0x56; // V
export const NEGOTIATE_PROTOCOL_VERSION = 0x76; // v
export const NO_DATA = 0x6e; // n
export const NOTICE_RESPONSE = 0x4e; // N
export const NOTIFICATION_RESPONSE = 0x41; // A
export const PARAMETER_DESCRIPTION = 0x74; // t
export const PARAMETER_STATUS = 0x53; // S
export const PARSE_COMPLETE = 0x31; // 1
export const PORTAL_SUSPENDED = 0x73; // s
export const READY_FOR_QUERY = 0x5a; // Z
export const ROW_DESCRIPTION = 0x54; // T

// The status byte of ReadyForQuery: idle, or else in a transaction (T) or in a failed one (E).
export const STATUS_IDLE = 0x49; // I
export const STATUS_FAILED = 0x45; // E

/**
 * The longest body that a server accepts, by type (`SocketBackend` in src/backend/tcop/postgres.c):
 * the large limit for statements, parameters and COPY data, the small one for everything else.
 */
export const LARGE_MESSAGE_MAX = 0x3ffffffe;
export const SMALL_MESSAGE_MAX = 10_000;

/** The length field at `at + 1`; at least the header must be there. Negative when the sign bit is set. */
export function lengthAt(bytes: Uint8Array, at: number): number {
  return (bytes[at + 1] << 24) | (bytes[at + 2] << 16) | (bytes[at + 3] << 8) | bytes[at + 4];
}

export function int32At(bytes: Uint8Array, at: number): number {
  return (bytes[at] << 24) | (bytes[at + 1] << 16) | (bytes[at + 2] << 8) | bytes[at + 3];
}

/** The index of the NUL at or after `from`, or -1 when there is none before `end`. */
export function terminatorAt(bytes: Uint8Array, from: number, end: number): number {
  const at = bytes.indexOf(0, from);
  return at >= 0 && at < end ? at : -1;
}

/** One whole message of `type`. */
export function message(type: number, ...parts: readonly Uint8Array[]): Buffer {
  let length = 4;
  for (const part of parts) length += part.length;
  const bytes = Buffer.allocUnsafe(1 + length);
  bytes[0] = type;
  bytes.writeInt32BE(length, 1);
  let at = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** `text` and its NUL, in UTF-8. */
export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export function int32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeInt32BE(value);
  return bytes;
}
