/**
 * The bodies of the messages of a login: `R` (Authentication...) and `p` (PasswordMessage,
 * SASLInitialResponse, SASLResponse), without type byte and length. Readers are total: undefined
 * for anything that is not exactly such a body.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

export const AUTHENTICATION_OK = 0;
export const AUTHENTICATION_CLEARTEXT_PASSWORD = 3;
export const AUTHENTICATION_MD5_PASSWORD = 5;
export const AUTHENTICATION_SASL = 10;
export const AUTHENTICATION_SASL_CONTINUE = 11;
export const AUTHENTICATION_SASL_FINAL = 12;

/** Length of the code that begins an `R` body, and of the length inside SASLInitialResponse. */
const INT32_BYTES = 4;
const EMPTY = new Uint8Array(0);

export interface Authentication {
  readonly code: number;
  /** A view into the body. */
  readonly data: Buffer;
}

export interface SaslInitialResponse {
  readonly mechanism: string;
  /** A view into the body; undefined when the client sent none (length -1). */
  readonly response: Buffer | undefined;
}

export function authentication(code: number, data: Uint8Array = EMPTY): Buffer {
  const body = Buffer.allocUnsafe(INT32_BYTES + data.length);
  body.writeInt32BE(code, 0);
  body.set(data, INT32_BYTES);
  return body;
}

export function authenticationSasl(mechanisms: readonly string[]): Buffer {
  return authentication(AUTHENTICATION_SASL, Buffer.from(`${mechanisms.join('\0')}\0\0`, 'latin1'));
}

export function readAuthentication(body: Uint8Array): Authentication | undefined {
  const buffer = viewOf(body);
  if (buffer.length < INT32_BYTES) return undefined;
  return { code: buffer.readInt32BE(0), data: buffer.subarray(INT32_BYTES) };
}

/** The names in the data of AuthenticationSASL: at least one, and an empty one ends the list. */
export function readMechanisms(data: Uint8Array): string[] | undefined {
  const text = viewOf(data).toString('latin1');
  if (!text.endsWith('\0\0')) return undefined;
  const mechanisms = text.slice(0, -2).split('\0');
  return mechanisms.includes('') ? undefined : mechanisms;
}

export function passwordMessage(password: string): Buffer {
  return Buffer.from(`${password}\0`, 'utf8');
}

/** The string of a PasswordMessage, without its zero byte; a view into the body. */
export function readPasswordMessage(body: Uint8Array): Buffer | undefined {
  const buffer = viewOf(body);
  return buffer.length > 0 && buffer.indexOf(0) === buffer.length - 1
    ? buffer.subarray(0, -1)
    : undefined;
}

export function saslInitialResponse(mechanism: string, response: Uint8Array): Buffer {
  const length = Buffer.allocUnsafe(INT32_BYTES);
  length.writeInt32BE(response.length, 0);
  return Buffer.concat([Buffer.from(`${mechanism}\0`, 'latin1'), length, response]);
}

export function readSaslInitialResponse(body: Uint8Array): SaslInitialResponse | undefined {
  const buffer = viewOf(body);
  const nameEnd = buffer.indexOf(0);
  const responseStart = nameEnd + 1 + INT32_BYTES;
  if (nameEnd < 0 || buffer.length < responseStart) return undefined;
  const mechanism = buffer.toString('latin1', 0, nameEnd);
  const length = buffer.readInt32BE(nameEnd + 1);
  const response = buffer.subarray(responseStart);
  if (length === -1 && response.length === 0) return { mechanism, response: undefined };
  return length === response.length ? { mechanism, response } : undefined;
}

function viewOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
