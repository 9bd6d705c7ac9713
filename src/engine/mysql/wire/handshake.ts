/**
 * What both sides say before the first command: greeting, request for TLS, log-in, the packets of an
 * authentication, and the body of COM_CHANGE_USER, which begins another one.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
 * https://mariadb.com/docs/server/reference/clientserver-protocol/1-connecting/connection
 *
 * Payloads in, packets out. What is read here comes from somebody who has proved nothing yet.
 */

import {
  CLIENT_CONNECT_ATTRS,
  CLIENT_CONNECT_WITH_DB,
  CLIENT_LONG_PASSWORD,
  CLIENT_PLUGIN_AUTH,
  CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
  CLIENT_PROTOCOL_41,
  CLIENT_SECURE_CONNECTION,
  CLIENT_SSL,
  COM_CHANGE_USER,
  EOF_HEADER,
  has,
} from './capabilities.ts';
import {
  cString,
  int16,
  int16At,
  int32,
  int32At,
  lenenc,
  lenencString,
  PayloadReader,
  packet,
} from './packets.ts';

const PROTOCOL_VERSION = 10;
/** What a server proves its freshness with. */
export const SCRAMBLE_BYTES = 20;
/** How much of the scramble the first part of the greeting has. */
const SCRAMBLE_FIRST_BYTES = 8;
/** The second part is at least this long, with the NUL behind it. */
const SCRAMBLE_SECOND_BYTES_MIN = 13;
/** Of the 10 reserved bytes of the greeting, those before MariaDB's extended capabilities. */
const GREETING_RESERVED_BYTES = 6;
/** Capabilities, packet size, collation and the reserved bytes: all of an SSLRequest, the start of a log-in. */
const LOGIN_FIXED_BYTES = 32;
/** Where MariaDB's extended capabilities are in those. */
const LOGIN_EXTENDED_AT = 28;
/** MySQL refuses more; `read_client_connect_attrs` in sql/auth/sql_authentication.cc. */
const ATTRIBUTES_BYTES_MAX = 65_535;
/** What a client tells of how long a packet it takes; servers do not look at it. */
const MAX_PACKET_BYTES = 0x100_0000;

const AUTH_SWITCH_HEADER = EOF_HEADER;
const AUTH_MORE_HEADER = 0x01;
/** A server of before 4.1 asks for its own kind of password with this byte alone. */
const OLD_AUTH_SWITCH_BYTES = 1;

// --- Greeting

export interface Greeting {
  /** As it is on the wire: MariaDB puts `5.5.5-` before versions from 10 on. */
  readonly serverVersion: string;
  readonly threadId: number;
  /** Without the NUL behind it. */
  readonly scramble: Uint8Array;
  readonly capabilities: number;
  /** MariaDB's extended ones; 0 when there are none. */
  readonly mariadbCapabilities: number;
  /** The server's default, one byte of its id. */
  readonly collation: number;
  readonly status: number;
  readonly plugin: string;
}

/** HandshakeV10, the first packet of a connection. */
export function greetingPacket(greeting: Greeting): Buffer {
  const { serverVersion, threadId, scramble, capabilities, collation, status, plugin } = greeting;
  return packet(
    0,
    Buffer.of(PROTOCOL_VERSION),
    cString(serverVersion),
    int32(threadId),
    scramble.subarray(0, SCRAMBLE_FIRST_BYTES),
    Buffer.of(0),
    int16(capabilities),
    Buffer.of(collation),
    int16(status),
    int16(capabilities >>> 16),
    Buffer.of(scramble.length + 1),
    Buffer.alloc(GREETING_RESERVED_BYTES),
    int32(greeting.mariadbCapabilities),
    scramble.subarray(SCRAMBLE_FIRST_BYTES),
    Buffer.of(0),
    cString(plugin),
  );
}

/** Undefined when it is no greeting of protocol 10. Keeps nothing of `payload`. */
export function readGreeting(payload: Uint8Array): Greeting | undefined {
  const reader = new PayloadReader(payload);
  if (reader.int8() !== PROTOCOL_VERSION) return undefined;
  const serverVersion = reader.cBytes().toString('latin1');
  const threadId = reader.int32();
  const first = reader.take(SCRAMBLE_FIRST_BYTES);
  reader.take(1);
  const low = reader.int16();
  const collation = reader.int8();
  const status = reader.int16();
  const capabilities = low | (reader.int16() << 16);
  const scrambleBytes = reader.int8();
  reader.take(GREETING_RESERVED_BYTES);
  const extended = reader.int32();
  const secondBytes = Math.max(SCRAMBLE_SECOND_BYTES_MIN, scrambleBytes - SCRAMBLE_FIRST_BYTES);
  const second = reader.take(Math.min(secondBytes, reader.left));
  if (reader.isBroken || first.length + second.length < SCRAMBLE_BYTES) return undefined;
  // Some old servers leave the NUL behind the name out.
  const plugin = has(capabilities, CLIENT_PLUGIN_AUTH) ? untilNul(reader.rest()) : '';
  return {
    serverVersion,
    threadId,
    scramble: withoutNul(Buffer.concat([first, second])),
    capabilities,
    mariadbCapabilities: hasExtended(capabilities) ? extended : 0,
    collation,
    status,
    plugin,
  };
}

/** A MariaDB server, and a client that talks to one, has extended capabilities when it leaves this flag out. */
function hasExtended(capabilities: number): boolean {
  return (capabilities & CLIENT_LONG_PASSWORD) === 0;
}

function untilNul(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.toString('latin1', 0, end < 0 ? bytes.length : end);
}

/** A scramble ends with a NUL that is not part of it. */
function withoutNul(bytes: Buffer): Buffer {
  return bytes.length > 0 && bytes[bytes.length - 1] === 0 ? bytes.subarray(0, -1) : bytes;
}

// --- The client's side

interface LoginFixed {
  readonly capabilities: number;
  /** MariaDB's extended ones; 0 when there are none. */
  readonly mariadbCapabilities: number;
  /** One byte, also of longer ids: those are for SET NAMES. */
  readonly collation: number;
}

export interface ClientLoginPacket extends LoginFixed {
  /** In the client's character set. */
  readonly user: Buffer;
  readonly authResponse: Buffer;
  /** In the client's character set; undefined when the client named none. */
  readonly database: Buffer | undefined;
  /** Empty when the client does not know plugins. */
  readonly plugin: string;
  readonly attributes: ReadonlyMap<string, string>;
}

/** Whether a first packet asks for TLS; nothing else that is in it counts. */
export function isTlsRequest(payload: Uint8Array): boolean {
  return (
    payload.length === LOGIN_FIXED_BYTES &&
    has(int32At(payload, 0), CLIENT_SSL | CLIENT_PROTOCOL_41)
  );
}

function loginFixed({ capabilities, mariadbCapabilities, collation }: LoginFixed): Buffer {
  const bytes = Buffer.alloc(LOGIN_FIXED_BYTES);
  int32(capabilities).copy(bytes, 0);
  int32(MAX_PACKET_BYTES).copy(bytes, 4);
  bytes[8] = collation;
  if (hasExtended(capabilities)) int32(mariadbCapabilities).copy(bytes, LOGIN_EXTENDED_AT);
  return bytes;
}

/** SSLRequest. */
export function tlsRequestPacket(sequence: number, fixed: LoginFixed): Buffer {
  return packet(sequence, loginFixed(fixed));
}

/** HandshakeResponse41. */
export function loginPacket(sequence: number, login: ClientLoginPacket): Buffer {
  const { capabilities, user, authResponse, database, plugin, attributes } = login;
  return packet(
    sequence,
    loginFixed(login),
    user,
    Buffer.of(0),
    authResponseField(capabilities, authResponse),
    ...tail(capabilities, database, plugin, attributes),
  );
}

function authResponseField(capabilities: number, response: Uint8Array): Uint8Array {
  if (has(capabilities, CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)) return lenencString(response);
  if (response.length > 0xff) throw new RangeError('the server takes no answer of this length');
  return Buffer.concat([Buffer.of(response.length), response]);
}

function tail(
  capabilities: number,
  database: Uint8Array | undefined,
  plugin: string,
  attributes: ReadonlyMap<string, string>,
): Uint8Array[] {
  const parts: Uint8Array[] = [];
  if (has(capabilities, CLIENT_CONNECT_WITH_DB)) parts.push(database ?? Buffer.of(), Buffer.of(0));
  if (has(capabilities, CLIENT_PLUGIN_AUTH)) parts.push(cString(plugin));
  if (has(capabilities, CLIENT_CONNECT_ATTRS)) parts.push(attributesField(attributes));
  return parts;
}

function attributesField(attributes: ReadonlyMap<string, string>): Buffer {
  const pairs = Buffer.concat(
    [...attributes].flatMap(([name, value]) => [lenencString(name), lenencString(value)]),
  );
  return Buffer.concat([lenenc(pairs.length), pairs]);
}

export type LoginProblem =
  /** The protocol of before MySQL 4.1. */
  'old_protocol' | 'malformed';

/** A view of `payload`. */
export function readLogin(payload: Buffer): ClientLoginPacket | LoginProblem {
  if (payload.length < 2) return 'malformed';
  if (!has(int16At(payload, 0), CLIENT_PROTOCOL_41)) return 'old_protocol';
  if (payload.length < LOGIN_FIXED_BYTES) return 'malformed';
  const capabilities = int32At(payload, 0) | 0;
  const reader = new PayloadReader(payload, LOGIN_FIXED_BYTES);
  const user = reader.cBytes();
  const authResponse = readAuthResponse(reader, capabilities);
  const hasDatabase = has(capabilities, CLIENT_CONNECT_WITH_DB) && reader.left > 0;
  const database = hasDatabase ? reader.cBytes() : undefined;
  const plugin = readPlugin(reader, capabilities);
  const attributes = readAttributes(reader, capabilities);
  if (reader.isBroken || attributes === undefined) return 'malformed';
  return {
    capabilities,
    mariadbCapabilities: hasExtended(capabilities) ? int32At(payload, LOGIN_EXTENDED_AT) : 0,
    collation: payload[8],
    user,
    authResponse,
    database: database?.length === 0 ? undefined : database,
    plugin,
    attributes,
  };
}

function readAuthResponse(reader: PayloadReader, capabilities: number): Buffer {
  if (has(capabilities, CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)) return reader.lenencBytes();
  if (has(capabilities, CLIENT_SECURE_CONNECTION)) return reader.take(reader.int8());
  return reader.cBytes();
}

/** As with servers, the name may be missing, and so may its NUL when nothing follows. */
function readPlugin(reader: PayloadReader, capabilities: number): string {
  if (!has(capabilities, CLIENT_PLUGIN_AUTH) || reader.left === 0) return '';
  return reader.cBytes().toString('latin1');
}

/** Undefined when they are too long or cannot be read. */
function readAttributes(
  reader: PayloadReader,
  capabilities: number,
): ReadonlyMap<string, string> | undefined {
  const attributes = new Map<string, string>();
  if (!has(capabilities, CLIENT_CONNECT_ATTRS) || reader.left === 0) return attributes;
  const bytes = reader.lenencBytes();
  if (bytes.length > ATTRIBUTES_BYTES_MAX) return undefined;
  const pairs = new PayloadReader(bytes);
  while (pairs.left > 0) {
    attributes.set(pairs.lenencBytes().toString(), pairs.lenencBytes().toString());
  }
  return pairs.isBroken ? undefined : attributes;
}

// --- Authentication

/** A view of what was read. */
export interface AuthSwitch {
  readonly plugin: string;
  /** Without the NUL behind it. */
  readonly data: Buffer;
}

/** AuthSwitchRequest: another plugin, and what it begins with. */
export function authSwitchPacket(sequence: number, plugin: string, data: Uint8Array): Buffer {
  return packet(
    sequence,
    Buffer.of(AUTH_SWITCH_HEADER),
    cString(plugin),
    Buffer.from(data),
    Buffer.of(0),
  );
}

/** `old` is the request of a server for passwords of before MySQL 4.1. */
export function readAuthSwitch(payload: Uint8Array): AuthSwitch | 'old' | undefined {
  if (payload[0] !== AUTH_SWITCH_HEADER) return undefined;
  if (payload.length === OLD_AUTH_SWITCH_BYTES) return 'old';
  const reader = new PayloadReader(payload, 1);
  const plugin = reader.cBytes().toString('latin1');
  return reader.isBroken ? undefined : { plugin, data: withoutNul(reader.rest()) };
}

/** AuthMoreData: the plugin goes on. */
export function authMorePacket(sequence: number, data: Uint8Array): Buffer {
  return packet(sequence, Buffer.of(AUTH_MORE_HEADER), data);
}

export function readAuthMore(payload: Uint8Array): Buffer | undefined {
  return payload[0] === AUTH_MORE_HEADER ? new PayloadReader(payload, 1).rest() : undefined;
}

// --- COM_CHANGE_USER

export interface ChangeUser extends Omit<ClientLoginPacket, keyof LoginFixed> {
  /** All of its id; undefined when the client leaves it as it is. */
  readonly collation: number | undefined;
}

/** Whole payload, with its command byte. A view of it; undefined when it cannot be read. */
export function readChangeUser(payload: Buffer, capabilities: number): ChangeUser | undefined {
  const reader = new PayloadReader(payload, 1);
  const user = reader.cBytes();
  const isSecure = has(capabilities, CLIENT_SECURE_CONNECTION);
  const authResponse = isSecure ? reader.take(reader.int8()) : reader.cBytes();
  const database = reader.cBytes();
  const collation = reader.left >= 2 ? reader.int16() : undefined;
  const plugin = readPlugin(reader, capabilities);
  const attributes = readAttributes(reader, capabilities);
  if (reader.isBroken || attributes === undefined) return undefined;
  return {
    user,
    authResponse,
    database: database.length === 0 ? undefined : database,
    collation,
    plugin,
    attributes,
  };
}

/** The command, a whole packet. */
export function changeUserPacket(capabilities: number, change: ChangeUser): Buffer {
  const { user, authResponse, database, collation = 0, plugin, attributes } = change;
  const withoutDatabase = capabilities & ~CLIENT_CONNECT_WITH_DB;
  return packet(
    0,
    Buffer.of(COM_CHANGE_USER),
    user,
    Buffer.of(0, authResponse.length),
    authResponse,
    database ?? Buffer.of(),
    Buffer.of(0),
    int16(collation),
    ...tail(withoutDatabase, undefined, plugin, attributes),
  );
}
