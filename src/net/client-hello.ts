/**
 * Reads the first message of a TLS handshake, for the server name that a client gives in it (SNI): which
 * certificate it is to be shown has to be known before the handshake begins. Nothing else of it is looked at.
 * https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2 https://www.rfc-editor.org/rfc/rfc6066#section-3
 */

const RECORD_HEADER_BYTES = 5;
const MESSAGE_HEADER_BYTES = 4;
const HANDSHAKE_RECORD = 0x16;
const CLIENT_HELLO = 1;
const VERSION_AND_RANDOM_BYTES = 34;
const SERVER_NAME_EXTENSION = 0;
const HOST_NAME = 0;
/** With keys for quantum computers to fail at, and tickets, a message has some 2 KiB. */
export const CLIENT_HELLO_MAX = 16 * 1024;

export type ClientHello =
  /** More bytes must come first. */
  | 'incomplete'
  /** It is none, or it is too long. */
  | 'malformed'
  /** Lower case; undefined when the client gives none, for example because it connects to an address. */
  | { readonly serverName: string | undefined };

/** `bytes`: everything that the client has sent of the handshake. */
export function readClientHello(bytes: Buffer): ClientHello {
  const message = messageIn(bytes);
  if (typeof message === 'string') return message;
  const reader = new Reader(message);
  reader.skip(VERSION_AND_RANDOM_BYTES);
  // Session id, cipher suites, compression methods.
  reader.skip(reader.number(1));
  reader.skip(reader.number(2));
  reader.skip(reader.number(1));
  if (reader.isOver && !reader.hasFailed) return { serverName: undefined };
  const extensions = new Reader(reader.take(reader.number(2)));
  let serverName: string | undefined;
  while (!extensions.isOver && serverName === undefined) {
    const type = extensions.number(2);
    const content = extensions.take(extensions.number(2));
    if (type === SERVER_NAME_EXTENSION) serverName = hostNameIn(content);
  }
  return reader.hasFailed || extensions.hasFailed ? 'malformed' : { serverName };
}

/** The message without its header, put together from the records that it may be spread over. */
function messageIn(bytes: Buffer): Buffer | 'incomplete' | 'malformed' {
  const parts: Buffer[] = [];
  let have = 0;
  let at = 0;
  while (at < bytes.length) {
    if (bytes[at] !== HANDSHAKE_RECORD) return 'malformed';
    if (bytes.length - at < RECORD_HEADER_BYTES) break;
    const length = bytes.readUInt16BE(at + 3);
    const part = bytes.subarray(at + RECORD_HEADER_BYTES, at + RECORD_HEADER_BYTES + length);
    parts.push(part);
    have += part.length;
    at += RECORD_HEADER_BYTES + length;
    if (have < MESSAGE_HEADER_BYTES) continue;
    const whole = Buffer.concat(parts);
    const end = MESSAGE_HEADER_BYTES + whole.readUIntBE(1, 3);
    if (whole[0] !== CLIENT_HELLO || end > CLIENT_HELLO_MAX) return 'malformed';
    if (whole.length >= end) return whole.subarray(MESSAGE_HEADER_BYTES, end);
  }
  return bytes.length > CLIENT_HELLO_MAX ? 'malformed' : 'incomplete';
}

/** The list has one name of each kind at most, and there is one kind. */
function hostNameIn(content: Buffer): string | undefined {
  const list = new Reader(content);
  list.skip(2);
  if (list.number(1) !== HOST_NAME) return undefined;
  const name = list.take(list.number(2)).toString('latin1').toLowerCase();
  return list.hasFailed || name === '' ? undefined : name;
}

/** Beyond the end everything is 0 and empty, and it says so. */
class Reader {
  hasFailed = false;
  private readonly bytes: Buffer;
  private at = 0;

  constructor(bytes: Buffer) {
    this.bytes = bytes;
  }

  get isOver(): boolean {
    return this.hasFailed || this.at >= this.bytes.length;
  }

  skip(length: number): void {
    this.take(length);
  }

  take(length: number): Buffer {
    const taken = this.bytes.subarray(this.at, this.at + length);
    if (taken.length < length) this.hasFailed = true;
    this.at += length;
    return taken;
  }

  number(length: 1 | 2): number {
    const taken = this.take(length);
    return taken.length < length ? 0 : taken.readUIntBE(0, length);
  }
}
