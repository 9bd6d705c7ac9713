/**
 * What a PostgreSQL client says, as bytes: enough of protocol 3.0 for a load generator and for the
 * soak. It shares no code with the proxy on purpose: a codec tested by itself proves nothing.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

const PROTOCOL_3_0 = 196608;
const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80_877_103;
const HEADER_LENGTH = 5;

/** The two numbers of BackendKeyData; whoever has them may cancel. */
export interface CancelKey {
  readonly processId: number;
  readonly secret: number;
}

function message(type: string, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts);
  const bytes = Buffer.allocUnsafe(HEADER_LENGTH + body.length);
  bytes.write(type, 0, 'latin1');
  bytes.writeInt32BE(4 + body.length, 1);
  body.copy(bytes, HEADER_LENGTH);
  return bytes;
}

function untyped(body: Uint8Array): Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(4 + body.length);
  return Buffer.concat([length, body]);
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function int16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeInt16BE(value);
  return bytes;
}

function int32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(value);
  return bytes;
}

export function startup(parameters: Readonly<Record<string, string>>): Buffer {
  const pairs = Object.entries(parameters).map(([name, value]) => `${name}\0${value}\0`);
  return untyped(Buffer.concat([int32(PROTOCOL_3_0), Buffer.from(`${pairs.join('')}\0`)]));
}

export function sslRequest(): Buffer {
  return untyped(int32(SSL_REQUEST));
}

export function cancelRequest(key: CancelKey): Buffer {
  const body = Buffer.alloc(12);
  body.writeInt32BE(CANCEL_REQUEST, 0);
  body.writeInt32BE(key.processId, 4);
  body.writeInt32BE(key.secret, 8);
  return untyped(body);
}

/** The answer to a request for a password that is a plain string: MD5. */
export function password(value: string): Buffer {
  return message('p', text(value));
}

export function saslInitialResponse(mechanism: string, data: Uint8Array): Buffer {
  return message('p', text(mechanism), int32(data.length), data);
}

export function saslResponse(data: Uint8Array): Buffer {
  return message('p', data);
}

export function query(sql: string): Buffer {
  return message('Q', text(sql));
}

export function parse(name: string, sql: string): Buffer {
  return message('P', text(name), text(sql), int16(0));
}

/** Binds text parameters to the unnamed portal; results come back as text. */
export function bind(statement: string, parameters: readonly string[]): Buffer {
  const values = parameters.flatMap((parameter) => {
    const bytes = Buffer.from(parameter);
    return [int32(bytes.length), bytes];
  });
  return message(
    'B',
    text(''),
    text(statement),
    int16(0),
    int16(parameters.length),
    ...values,
    int16(0),
  );
}

export function describeStatement(name: string): Buffer {
  return message('D', Buffer.from('S'), text(name));
}

export function describePortal(): Buffer {
  return message('D', Buffer.from('P\0'));
}

/** Executes the unnamed portal; 0 rows at most means all of them. */
export function execute(rowsMax = 0): Buffer {
  return message('E', text(''), int32(rowsMax));
}

export function closeStatement(name: string): Buffer {
  return message('C', Buffer.from('S'), text(name));
}

export function sync(): Buffer {
  return message('S');
}

export function flush(): Buffer {
  return message('H');
}

export function copyData(data: Uint8Array): Buffer {
  return message('d', data);
}

export function copyDone(): Buffer {
  return message('c');
}

export function copyFail(why: string): Buffer {
  return message('f', text(why));
}

export function terminate(): Buffer {
  return message('X');
}
