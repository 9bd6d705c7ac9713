/**
 * Reads what PostgreSQL sends, for people and for comparisons: a message becomes one line of text
 * that holds everything in it.
 * https://www.postgresql.org/docs/current/protocol-message-formats.html
 */

/** One message of the database: its type letter and its body without the length. */
export interface BackendMessage {
  readonly type: string;
  readonly body: Buffer;
}

const NAMES: Readonly<Record<string, string>> = {
  R: 'Authentication',
  K: 'BackendKeyData',
  2: 'BindComplete',
  3: 'CloseComplete',
  C: 'CommandComplete',
  d: 'CopyData',
  c: 'CopyDone',
  G: 'CopyInResponse',
  H: 'CopyOutResponse',
  W: 'CopyBothResponse',
  D: 'DataRow',
  I: 'EmptyQueryResponse',
  E: 'ErrorResponse',
  V: 'FunctionCallResponse',
  v: 'NegotiateProtocolVersion',
  n: 'NoData',
  N: 'NoticeResponse',
  A: 'NotificationResponse',
  t: 'ParameterDescription',
  S: 'ParameterStatus',
  1: 'ParseComplete',
  s: 'PortalSuspended',
  Z: 'ReadyForQuery',
  T: 'RowDescription',
};

const SHOWN_BYTES_MAX = 2000;

/** Reads a body from its beginning to its end. */
class BodyReader {
  readonly #body: Buffer;
  #at = 0;

  constructor(body: Buffer) {
    this.#body = body;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#body.length;
  }

  byte(): number {
    return this.#body.readUInt8(this.#at++);
  }

  int16(): number {
    this.#at += 2;
    return this.#body.readInt16BE(this.#at - 2);
  }

  int32(): number {
    this.#at += 4;
    return this.#body.readInt32BE(this.#at - 4);
  }

  text(): string {
    const end = this.#body.indexOf(0, this.#at);
    if (end < 0) throw new Error('text without an end in a backend message');
    const text = this.#body.toString('utf8', this.#at, end);
    this.#at = end + 1;
    return text;
  }

  bytes(length: number): Buffer {
    this.#at += length;
    return this.#body.subarray(this.#at - length, this.#at);
  }

  value(): Buffer | null {
    const length = this.int32();
    return length < 0 ? null : this.bytes(length);
  }

  list<Item>(read: () => Item): Item[] {
    return Array.from({ length: this.int16() }, read);
  }
}

/** One line with everything that the message says. */
export function formatMessage(message: BackendMessage): string {
  const name = NAMES[message.type] ?? `Unknown(${JSON.stringify(message.type)})`;
  const details = formatBody(message);
  return details === '' ? name : `${name} ${details}`;
}

function formatBody({ type, body }: BackendMessage): string {
  switch (type) {
    case 'E':
    case 'N':
      return formatFields(errorFields({ type, body }));
    case 'D':
      return dataRow({ type, body }).map(formatValue).join(' ');
    case 'T':
      return rowDescription(body);
    case 'C':
      return commandTag({ type, body });
    case 'Z':
      return readyStatus({ type, body });
    case 't':
      return new BodyReader(body).int16() === 0 ? '' : parameterTypes(body).join(' ');
    case 'S':
      return parameterStatus({ type, body }).join('=');
    case 'A':
      return formatNotification(body);
    case 'd':
    case 'V':
      return formatBytes(body);
    default:
      return body.length === 0 ? '' : body.toString('hex');
  }
}

function formatFields(fields: ReadonlyMap<string, string>): string {
  return [...fields].map(([key, value]) => `${key}=${JSON.stringify(value)}`).join(' ');
}

function formatValue(value: Buffer | null): string {
  return value === null ? 'NULL' : formatBytes(value);
}

function formatBytes(bytes: Buffer): string {
  if (bytes.length > SHOWN_BYTES_MAX) return `<${bytes.length} bytes, ${Bun.hash(bytes)}>`;
  const text = bytes.toString('utf8');
  const isText = !/\p{Cc}/u.test(text.replaceAll('\n', '')) && Buffer.from(text).equals(bytes);
  return isText ? JSON.stringify(text) : `0x${bytes.toString('hex')}`;
}

function rowDescription(body: Buffer): string {
  const reader = new BodyReader(body);
  const columns = reader.list(() => {
    const name = JSON.stringify(reader.text());
    const table = `${reader.int32()}.${reader.int16()}`;
    const type = `${reader.int32()}/${reader.int16()}/${reader.int32()}`;
    return `${name}:${table}:${type}:${reader.int16() === 0 ? 'text' : 'binary'}`;
  });
  return columns.join(' ');
}

function parameterTypes(body: Buffer): number[] {
  const reader = new BodyReader(body);
  return reader.list(() => reader.int32());
}

/** Without the process id, which is never the same twice. */
function formatNotification(body: Buffer): string {
  const reader = new BodyReader(body);
  reader.int32();
  return `channel=${JSON.stringify(reader.text())} payload=${JSON.stringify(reader.text())}`;
}

/** The fields of an ErrorResponse or NoticeResponse, by their letter: C is the SQLSTATE, M the text. */
export function errorFields(message: BackendMessage): Map<string, string> {
  const reader = new BodyReader(message.body);
  const fields = new Map<string, string>();
  while (!reader.isAtEnd) {
    const key = reader.byte();
    if (key === 0) break;
    fields.set(String.fromCharCode(key), reader.text());
  }
  return fields;
}

/** The values of a DataRow. */
export function dataRow(message: BackendMessage): (Buffer | null)[] {
  const reader = new BodyReader(message.body);
  return reader.list(() => reader.value());
}

/** The names of a RowDescription's columns. */
export function columnNames(message: BackendMessage): string[] {
  const reader = new BodyReader(message.body);
  return reader.list(() => {
    const name = reader.text();
    reader.bytes(18);
    return name;
  });
}

/** The tag of a CommandComplete: `INSERT 0 1`. */
export function commandTag(message: BackendMessage): string {
  return new BodyReader(message.body).text();
}

/** The status of a ReadyForQuery: I, T or E. */
export function readyStatus(message: BackendMessage): string {
  return message.body.toString('latin1');
}

export function parameterStatus(message: BackendMessage): [name: string, value: string] {
  const reader = new BodyReader(message.body);
  return [reader.text(), reader.text()];
}

/** The rows among some messages, as text. */
export function textRows(messages: readonly BackendMessage[]): (string | null)[][] {
  return messages
    .filter(({ type }) => type === 'D')
    .map((message) => dataRow(message).map((value) => value?.toString() ?? null));
}

/** The SQLSTATEs of the ErrorResponses among some messages. */
export function sqlStates(messages: readonly BackendMessage[]): string[] {
  return messages
    .filter(({ type }) => type === 'E')
    .map((message) => errorFields(message).get('C') ?? '');
}
