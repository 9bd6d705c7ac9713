/** The first packets of a connection: the server's greeting, and the client's answers to it. */

import { CAPABILITY } from './constants.ts';
import { PayloadReader, PayloadWriter } from './fields.ts';

export interface Greeting {
  readonly protocol: number;
  readonly version: string;
  readonly connectionId: number;
  readonly challenge: Buffer;
  readonly capabilities: number;
  /** MariaDB's own; 0 where there are none. */
  readonly mariadbCapabilities: number;
  readonly collation: number;
  readonly status: number;
  readonly plugin: string;
}

const UPPER = 2 ** 16;

export function parseGreeting(payload: Buffer): Greeting {
  const reader = new PayloadReader(payload);
  const protocol = reader.integer(1);
  const version = reader.zeroEnded().toString();
  const connectionId = reader.integer(4);
  const first = reader.bytes(8);
  reader.bytes(1);
  const lower = reader.integer(2);
  const collation = reader.integer(1);
  const status = reader.integer(2);
  const capabilities = lower + reader.integer(2) * UPPER;
  const length = reader.integer(1);
  reader.bytes(6);
  const extended = reader.integer(4);
  // MariaDB does not set what MySQL calls LONG_PASSWORD, and says the rest in the filler.
  const isMariadb = (capabilities & CAPABILITY.LONG_PASSWORD) === 0;
  const challenge = Buffer.concat([first, reader.bytes(Math.max(13, length - 8)).subarray(0, 12)]);
  return {
    protocol,
    version,
    connectionId,
    challenge,
    capabilities,
    mariadbCapabilities: isMariadb ? extended : 0,
    collation,
    status,
    plugin: reader.zeroEnded().toString(),
  };
}

export interface HandshakeAnswer {
  readonly capabilities: number;
  readonly mariadbCapabilities: number;
  readonly maxPacket: number;
  readonly collation: number;
  readonly user: string;
  readonly authentication: Buffer;
  readonly database: string;
  readonly plugin: string;
  readonly attributes: Readonly<Record<string, string>>;
}

type HandshakeHead = Pick<
  HandshakeAnswer,
  'capabilities' | 'mariadbCapabilities' | 'maxPacket' | 'collation'
>;

/** The start of HandshakeResponse41, which is all of it when it asks for TLS. */
export function sslRequest(head: HandshakeHead): Buffer {
  return writeHead(new PayloadWriter(), head).payload;
}

function writeHead(writer: PayloadWriter, head: HandshakeHead): PayloadWriter {
  return writer
    .integer(head.capabilities >>> 0, 4)
    .integer(head.maxPacket, 4)
    .integer(head.collation & 0xff, 1)
    .bytes(Buffer.alloc(19))
    .integer(head.mariadbCapabilities, 4);
}

/** What is said follows from the capabilities, as the protocol has it. */
export function handshakeAnswer(answer: HandshakeAnswer): Buffer {
  const has = (flag: number) => (answer.capabilities & flag) !== 0;
  const writer = writeHead(new PayloadWriter(), answer).zeroEnded(answer.user);
  if (has(CAPABILITY.PLUGIN_AUTH_LENENC_CLIENT_DATA)) writer.lengthEncoded(answer.authentication);
  else if (has(CAPABILITY.SECURE_CONNECTION)) {
    writer.integer(answer.authentication.length, 1).bytes(answer.authentication);
  } else writer.zeroEnded(answer.authentication);
  if (has(CAPABILITY.CONNECT_WITH_DB)) writer.zeroEnded(answer.database);
  if (has(CAPABILITY.PLUGIN_AUTH)) writer.zeroEnded(answer.plugin);
  if (has(CAPABILITY.CONNECT_ATTRS)) writer.lengthEncoded(attributesPayload(answer.attributes));
  return writer.payload;
}

function attributesPayload(attributes: Readonly<Record<string, string>>): Buffer {
  const writer = new PayloadWriter();
  for (const [name, value] of Object.entries(attributes)) {
    writer.lengthEncoded(name).lengthEncoded(value);
  }
  return writer.payload;
}

/** COM_CHANGE_USER's payload. */
export function changeUser(answer: HandshakeAnswer): Buffer {
  const writer = new PayloadWriter().integer(0x11, 1).zeroEnded(answer.user);
  writer.integer(answer.authentication.length, 1).bytes(answer.authentication);
  writer.zeroEnded(answer.database).integer(answer.collation, 2);
  if ((answer.capabilities & CAPABILITY.PLUGIN_AUTH) !== 0) writer.zeroEnded(answer.plugin);
  if ((answer.capabilities & CAPABILITY.CONNECT_ATTRS) !== 0) {
    writer.lengthEncoded(attributesPayload(answer.attributes));
  }
  return writer.payload;
}
