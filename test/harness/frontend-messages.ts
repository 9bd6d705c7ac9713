/**
 * Builds what a client of PostgreSQL sends. Written apart from the proxy's own codec on purpose: a
 * mistake in one must not hide the same mistake in the other.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

const SSL_REQUEST_CODE = 80_877_103;
const GSSENC_REQUEST_CODE = 80_877_104;
const CANCEL_REQUEST_CODE = 80_877_102;
export const PROTOCOL_3_0 = 0x0003_0000;
export const PROTOCOL_3_2 = 0x0003_0002;

/** A parameter of Bind: text, raw bytes (binary format), or NULL. */
export type Parameter = string | Uint8Array | null;
export type DescribeKind = 'statement' | 'portal';

export function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

export function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

/** A message of any type with any body. */
export function message(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([Buffer.from(type, 'latin1'), int32(body.length + 4), body]);
}

function untyped(...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  return Buffer.concat([int32(body.length + 4), body]);
}

export function startup(
  parameters: Readonly<Record<string, string>>,
  protocol = PROTOCOL_3_0,
): Buffer {
  const pairs = Object.entries(parameters).flat().map(cString);
  return untyped(int32(protocol), ...pairs, Buffer.alloc(1));
}

export function sslRequest(): Buffer {
  return untyped(int32(SSL_REQUEST_CODE));
}

export function gssEncRequest(): Buffer {
  return untyped(int32(GSSENC_REQUEST_CODE));
}

export function cancelRequest(pid: number, secret: Uint8Array): Buffer {
  return untyped(int32(CANCEL_REQUEST_CODE), int32(pid), secret);
}

export function password(text: string): Buffer {
  return message('p', cString(text));
}

export function saslInitialResponse(mechanism: string, response: string): Buffer {
  const bytes = Buffer.from(response);
  return message('p', cString(mechanism), int32(bytes.length), bytes);
}

export function saslResponse(response: string): Buffer {
  return message('p', Buffer.from(response));
}

export function query(sql: string): Buffer {
  return message('Q', cString(sql));
}

export function parse(name: string, sql: string, parameterTypes: readonly number[] = []): Buffer {
  const types = parameterTypes.map(int32);
  return message('P', cString(name), cString(sql), int16(types.length), ...types);
}

export interface BindOptions {
  readonly portal?: string;
  readonly statement?: string;
  readonly parameters?: readonly Parameter[];
  /** 0 text, 1 binary; one for all columns or one for each. */
  readonly resultFormats?: readonly number[];
}

export function bind(options: BindOptions = {}): Buffer {
  const { portal = '', statement = '', parameters = [], resultFormats = [] } = options;
  const isBinary = parameters.map((value) => typeof value === 'object' && value !== null);
  const formats = isBinary.includes(true) ? isBinary.map((binary) => int16(binary ? 1 : 0)) : [];
  return message(
    'B',
    cString(portal),
    cString(statement),
    int16(formats.length),
    ...formats,
    int16(parameters.length),
    ...parameters.flatMap(parameterParts),
    int16(resultFormats.length),
    ...resultFormats.map(int16),
  );
}

function parameterParts(value: Parameter): Buffer[] {
  if (value === null) return [int32(-1)];
  const bytes = Buffer.from(value);
  return [int32(bytes.length), bytes];
}

function targetOf(kind: DescribeKind, name: string): Buffer {
  return cString(`${kind === 'statement' ? 'S' : 'P'}${name}`);
}

export function describe(kind: DescribeKind, name = ''): Buffer {
  return message('D', targetOf(kind, name));
}

export function close(kind: DescribeKind, name = ''): Buffer {
  return message('C', targetOf(kind, name));
}

/** `rowsMax` 0 means all rows. */
export function execute(portal = '', rowsMax = 0): Buffer {
  return message('E', cString(portal), int32(rowsMax));
}

export function sync(): Buffer {
  return message('S');
}

export function flush(): Buffer {
  return message('H');
}

export function terminate(): Buffer {
  return message('X');
}

export function copyData(bytes: string | Uint8Array): Buffer {
  return message('d', Buffer.from(bytes));
}

export function copyDone(): Buffer {
  return message('c');
}

export function copyFail(reason: string): Buffer {
  return message('f', cString(reason));
}

/** Calls a function by its object id, with text arguments and a text result. */
export function functionCall(objectId: number, args: readonly Parameter[]): Buffer {
  return message(
    'F',
    int32(objectId),
    int16(0),
    int16(args.length),
    ...args.flatMap(parameterParts),
    int16(0),
  );
}
