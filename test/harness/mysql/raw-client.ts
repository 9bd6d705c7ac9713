/**
 * A client that speaks MySQL's protocol packet by packet and hides nothing: it sends any bytes, cut
 * anywhere, with any capabilities and sequence numbers, and keeps every packet that comes back. Waits have
 * deadlines; nothing sleeps. What was not read stays queued.
 *
 *   using client = await MysqlRawClient.login(address, { user, password });
 *   const parts = await client.query('select 1');       // a whole answer, taken apart
 *   client.sendPacket(command(COMMAND.PING)); const packet = await client.next();   // or by hand
 */

import { createConnection, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import { Arrivals, EVENT_DEADLINE_MS, within } from '../deadline.ts';
import { type AnswerForm, AnswerReader } from './answer-reader.ts';
import {
  formatPart,
  type Ok,
  type Packet,
  type Part,
  parseError,
  parseOk,
  type Row,
  type ServerError,
} from './answers.ts';
import * as commands from './commands.ts';
import { CAPABILITY, COMMAND } from './constants.ts';
import { PayloadReader } from './fields.ts';
import {
  changeUser,
  type Greeting,
  type HandshakeAnswer,
  handshakeAnswer,
  parseGreeting,
  sslRequest,
} from './handshake.ts';
import { MysqlLogin } from './login.ts';

const HEADER_LENGTH = 4;
/** A frame of this length is not the last of its packet. */
export const FRAME_LENGTH_MAX = 0xff_ffff;
const USUAL_MAX_PACKET = 1 << 30;
/** utf8mb4_general_ci, which every server has. */
const USUAL_COLLATION = 45;

/** Where a database, or a proxy, listens. */
export type MysqlAddress =
  | { readonly host?: string; readonly port: number }
  | { readonly socketPath: string };

/** What a client asks for by itself, as far as the server has it. */
export const USUAL_CAPABILITIES =
  CAPABILITY.LONG_PASSWORD |
  CAPABILITY.LONG_FLAG |
  CAPABILITY.LOCAL_FILES |
  CAPABILITY.PROTOCOL_41 |
  CAPABILITY.TRANSACTIONS |
  CAPABILITY.SECURE_CONNECTION |
  CAPABILITY.MULTI_STATEMENTS |
  CAPABILITY.MULTI_RESULTS |
  CAPABILITY.PS_MULTI_RESULTS |
  CAPABILITY.PLUGIN_AUTH |
  CAPABILITY.CONNECT_ATTRS |
  CAPABILITY.PLUGIN_AUTH_LENENC_CLIENT_DATA |
  CAPABILITY.SESSION_TRACK |
  CAPABILITY.DEPRECATE_EOF;

export interface MysqlLoginOptions {
  readonly user: string;
  readonly password?: string | Uint8Array;
  readonly database?: string;
  /** Added to the usual ones, or all of them when `onlyCapabilities` is said. */
  readonly capabilities?: number;
  /** Taken away from the usual ones. */
  readonly withoutCapabilities?: number;
  /** Exactly these, whatever the server has. */
  readonly onlyCapabilities?: number;
  readonly mariadbCapabilities?: number;
  readonly collation?: number;
  readonly maxPacket?: number;
  readonly attributes?: Readonly<Record<string, string>>;
  /** The plugin that the client begins with; default: the one of the greeting. */
  readonly plugin?: string;
  /** What is sent as the first answer, instead of what the plugin says. */
  readonly authentication?: Buffer;
  /** Log in over TLS. Certificates are checked only when this says so. */
  readonly tls?: ConnectionOptions;
  readonly deadlineMs?: number;
}

/** The server answered with an error where that ends what was asked. */
export class MysqlServerError extends Error {
  readonly code: number;
  readonly sqlState: string;

  constructor({ code, sqlState, message }: ServerError) {
    super(`${code} (${sqlState}) ${message}`);
    this.name = 'MysqlServerError';
    this.code = code;
    this.sqlState = sqlState;
  }
}

export class MysqlRawClient {
  socket: Socket;
  readonly #deadlineMs: number;
  readonly #isLocal: boolean;
  readonly #arrivals = new Arrivals<Packet>();
  #readCount = 0;
  #chunks: Buffer[] = [];
  #chunksLength = 0;
  #frames: Buffer[] = [];
  #isClosed = false;
  #error: Error | undefined;
  #greeting: Greeting | undefined;
  #lastSequence = -1;
  #isTls = false;
  #options: MysqlLoginOptions = { user: '' };
  /** What both sides agreed on; the greeting's are in `greeting`. */
  capabilities = 0;
  mariadbCapabilities = 0;
  /** What happened in the last login: see MysqlLogin. */
  authentication: readonly string[] = [];
  /** The OK that ended the login. */
  loginOk: Ok | undefined;

  private constructor(socket: Socket, isLocal: boolean, deadlineMs: number) {
    this.socket = socket;
    this.#isLocal = isLocal;
    this.#deadlineMs = deadlineMs;
    socket.setNoDelay(true);
    this.#listen(socket);
  }

  /** Opens a socket. The greeting is not read. */
  static async connect(
    address: MysqlAddress,
    deadlineMs = EVENT_DEADLINE_MS,
  ): Promise<MysqlRawClient> {
    const isLocal = 'socketPath' in address;
    const socket = createConnection(
      isLocal
        ? { path: address.socketPath }
        : { host: address.host ?? '127.0.0.1', port: address.port },
    );
    const client = new MysqlRawClient(socket, isLocal, deadlineMs);
    socket.once('connect', () => client.#arrivals.wake());
    await client.#arrivals.until(
      () => {
        if (client.#error !== undefined) throw client.#error;
        return socket.connecting ? undefined : true;
      },
      'connect',
      deadlineMs,
    );
    return client;
  }

  /** Opens a socket and logs in. Rejects with MysqlServerError when the server does not want us. */
  static async login(address: MysqlAddress, options: MysqlLoginOptions): Promise<MysqlRawClient> {
    const client = await MysqlRawClient.connect(address, options.deadlineMs);
    try {
      await client.logIn(options);
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  get greeting(): Greeting {
    if (this.#greeting === undefined) throw new Error('the greeting was not read');
    return this.#greeting;
  }

  /** Reads the server's first packet; an error there is thrown. */
  async readGreeting(): Promise<Greeting> {
    const { payload } = await this.next();
    if (payload[0] === 0xff) throw new MysqlServerError(parseError(payload));
    this.#greeting = parseGreeting(payload);
    return this.#greeting;
  }

  /** Greets, begins TLS if asked to, and logs in. */
  async logIn(options: MysqlLoginOptions): Promise<Ok> {
    this.#options = options;
    const greeting = this.#greeting ?? (await this.readGreeting());
    this.#agree(options, greeting);
    if (options.tls !== undefined) await this.startTls(options.tls);
    return await this.#authenticate(greeting.plugin, greeting.challenge, (answer) =>
      this.sendPacket(handshakeAnswer(answer), this.#lastSequence + 1),
    );
  }

  /** COM_CHANGE_USER. */
  async changeUser(options: Partial<MysqlLoginOptions>): Promise<Ok> {
    this.#options = { ...this.#options, ...options };
    const { plugin, challenge } = this.greeting;
    return await this.#authenticate(plugin, challenge, (answer) =>
      this.sendPacket(changeUser(answer)),
    );
  }

  /** Sends the SSLRequest and does the handshake. For use between `readGreeting` and `logIn`, or by it. */
  async startTls(options: ConnectionOptions = {}): Promise<TLSSocket> {
    this.sendPacket(sslRequest(this.handshakeOf(Buffer.alloc(0), '')), this.#lastSequence + 1);
    const tls = await this.handshake(options);
    this.#isTls = true;
    this.#lastSequence++;
    return tls;
  }

  /** Begins TLS without asking. */
  async handshake(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const plain = this.socket;
    plain.removeAllListeners('data');
    const ended = Promise.withResolvers<void>();
    const tls = connectTls({ rejectUnauthorized: false, ...options, socket: plain }, ended.resolve);
    tls.on('error', ended.reject);
    tls.on('close', () => ended.reject(this.#error ?? new Error('closed in the handshake')));
    this.#listen(tls);
    this.socket = tls;
    await within(ended.promise, 'a TLS handshake', this.#deadlineMs);
    return tls;
  }

  /** What a handshake's answer says, from the options of the login. */
  handshakeOf(authentication: Buffer, plugin: string): HandshakeAnswer {
    const { user, database = '', attributes = {}, collation, maxPacket } = this.#options;
    const tls = this.#options.tls === undefined ? 0 : CAPABILITY.SSL;
    return {
      capabilities: this.capabilities | tls,
      mariadbCapabilities: this.mariadbCapabilities,
      maxPacket: maxPacket ?? USUAL_MAX_PACKET,
      collation: collation ?? USUAL_COLLATION,
      user,
      authentication,
      database,
      plugin,
      attributes,
    };
  }

  #agree(options: MysqlLoginOptions, greeting: Greeting): void {
    const database = options.database === undefined ? 0 : CAPABILITY.CONNECT_WITH_DB;
    const wanted = USUAL_CAPABILITIES | database | (options.capabilities ?? 0);
    const asked = wanted & ~(options.withoutCapabilities ?? 0);
    // MariaDB does not offer what MySQL calls LONG_PASSWORD: without it, a client is one of MariaDB's.
    const offered = greeting.capabilities | CAPABILITY.CONNECT_WITH_DB;
    this.capabilities = options.onlyCapabilities ?? asked & offered;
    this.mariadbCapabilities = (options.mariadbCapabilities ?? 0) & greeting.mariadbCapabilities;
  }

  async #authenticate(
    greetingPlugin: string,
    greetingChallenge: Buffer,
    begin: (answer: HandshakeAnswer) => void,
  ): Promise<Ok> {
    const { password = '', plugin = greetingPlugin, authentication } = this.#options;
    const isTls = this.#isTls;
    const login = new MysqlLogin(password, { isSecure: isTls || this.#isLocal, isTls });
    const first = authentication ?? login.begin(plugin, greetingChallenge) ?? Buffer.alloc(0);
    begin(this.handshakeOf(first, plugin));
    for (;;) {
      const { payload, sequence } = await this.next();
      const answer = this.#authenticationStep(login, payload);
      if (answer === 'wait') continue;
      if (!Buffer.isBuffer(answer)) {
        this.authentication = login.steps;
        this.loginOk = answer;
        return answer;
      }
      this.sendPacket(answer, sequence + 1);
    }
  }

  #authenticationStep(login: MysqlLogin, payload: Buffer): Buffer | Ok | 'wait' {
    switch (payload[0]) {
      case 0x00:
        return parseOk(payload, this.capabilities);
      case 0x01:
        return login.more(payload.subarray(1)) ?? 'wait';
      case 0xfe: {
        const reader = new PayloadReader(payload, 1);
        const plugin = reader.zeroEnded().toString();
        const answer = login.begin(plugin, reader.rest());
        if (answer === undefined) throw new Error(`the server asks for the plugin ${plugin}`);
        return answer;
      }
      case 0xff:
        throw new MysqlServerError(parseError(payload));
      default:
        throw new Error(`not part of a login: ${payload.toString('hex')}`);
    }
  }

  /** Sends a packet, in as many frames as it needs. */
  sendPacket(payload: Uint8Array, sequence = 0): void {
    this.socket.write(frames(payload, sequence));
  }

  /** Sends several commands in one write. */
  sendCommands(...payloads: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(payloads.map((payload) => frames(payload, 0))));
  }

  /** Sends any bytes in one write. */
  sendBytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Sends in pieces of the given lengths (the last one repeats), each handed over before the next. */
  async sendSplit(bytes: Uint8Array, ...lengths: readonly [number, ...number[]]): Promise<void> {
    let at = 0;
    for (let piece = 0; at < bytes.length; piece++) {
      const length = Math.max(1, lengths[Math.min(piece, lengths.length - 1)] ?? 1);
      const part = bytes.subarray(at, at + length);
      at += length;
      await new Promise<void>((resolve) => this.socket.write(part, () => setImmediate(resolve)));
    }
  }

  /** Everything that ever arrived. */
  get received(): readonly Packet[] {
    return this.#arrivals.all;
  }

  get unread(): readonly Packet[] {
    return this.#arrivals.all.slice(this.#readCount);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The next packet that was not read yet. */
  async next(deadlineMs = this.#deadlineMs): Promise<Packet> {
    const packet = await this.#arrivals.until(
      () => {
        const found = this.#arrivals.all[this.#readCount];
        if (found === undefined && this.#isClosed) {
          throw new Error('the connection was closed while waiting for a packet', {
            cause: this.#error,
          });
        }
        return found;
      },
      () => `a packet; ${this.#arrivals.all.length} have arrived`,
      deadlineMs,
    );
    this.#readCount++;
    this.#lastSequence = packet.sequence;
    return packet;
  }

  /** Reads the whole answer to a command that was sent. `localFile` is what LOCAL INFILE reads. */
  async readAnswer(form: AnswerForm = 'query', localFile?: Uint8Array): Promise<Part[]> {
    const reader = new AnswerReader(form, {
      capabilities: this.capabilities,
      mariadbCapabilities: this.mariadbCapabilities,
    });
    const parts: Part[] = [];
    while (!reader.isDone) {
      const packet = await this.next();
      const part = reader.take(packet);
      parts.push(part);
      if (part.kind === 'infile') this.#sendFile(localFile, packet.sequence + 1);
    }
    return parts;
  }

  /** The file's packets and the empty one that ends it; without a file only that. */
  #sendFile(file: Uint8Array | undefined, sequence: number): void {
    let next = sequence;
    if (file !== undefined && file.length > 0) this.sendPacket(file, next++);
    this.sendPacket(Buffer.alloc(0), next);
  }

  /** Sends a command and reads its whole answer. */
  async command(payload: Uint8Array, form: AnswerForm = 'query'): Promise<Part[]> {
    this.sendPacket(payload);
    return await this.readAnswer(form);
  }

  /** Runs SQL and reads its whole answer, all results of it. */
  async query(sql: string | Uint8Array, localFile?: Uint8Array): Promise<Part[]> {
    this.sendPacket(commands.query(sql, this.capabilities));
    return await this.readAnswer('query', localFile);
  }

  /** Runs SQL. Rejects with the server's own error. Returns the rows of all results. */
  async rows(sql: string): Promise<(string | null)[][]> {
    return rowsOf(mustSucceed(await this.query(sql)));
  }

  ping(): Promise<Part[]> {
    return this.command(commands.command(COMMAND.PING), 'ok');
  }

  initDb(name: string): Promise<Part[]> {
    return this.command(commands.command(COMMAND.INIT_DB, name), 'ok');
  }

  resetConnection(): Promise<Part[]> {
    return this.command(commands.command(COMMAND.RESET_CONNECTION), 'ok');
  }

  prepare(sql: string): Promise<Part[]> {
    return this.command(commands.command(COMMAND.STMT_PREPARE, sql), 'prepare');
  }

  execute(
    statement: number,
    parameters: readonly commands.MysqlParameter[] = [],
    options: commands.ExecuteOptions = {},
  ): Promise<Part[]> {
    const { capabilities } = this;
    const payload = commands.execute(statement, parameters, { capabilities, ...options });
    return this.command(payload, 'execute');
  }

  /** Has no answer. */
  closeStatement(statement: number): void {
    this.sendPacket(commands.statementCommand(COMMAND.STMT_CLOSE, statement));
  }

  /** Waits until the other side has closed. Returns what was not read. */
  async untilClosed(deadlineMs = this.#deadlineMs): Promise<Packet[]> {
    await this.#arrivals.until(
      () => (this.#isClosed ? true : undefined),
      () => `the connection to be closed; unread: ${this.unread.length}`,
      deadlineMs,
    );
    const packets = this.#arrivals.all.slice(this.#readCount);
    this.#readCount = this.#arrivals.all.length;
    return packets;
  }

  /** Says goodbye and waits for the end. */
  async end(): Promise<void> {
    if (this.#isClosed) return;
    this.sendPacket(commands.command(COMMAND.QUIT));
    this.socket.end();
    await this.untilClosed();
  }

  /** Closes the socket without a word. */
  destroy(): void {
    this.socket.destroy();
  }

  /** Closes the socket with a TCP reset. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  [Symbol.dispose](): void {
    this.destroy();
  }

  /** Stops reading from the socket, until `resume`. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  #listen(socket: Socket): void {
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#arrivals.wake();
    });
  }

  #receive(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#chunksLength += chunk.length;
    if (this.#chunksLength < this.#wantedLength()) return;
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    while (bytes.length >= HEADER_LENGTH) {
      const length = bytes.readUIntLE(0, 3);
      if (bytes.length < HEADER_LENGTH + length) break;
      this.#accept(bytes.subarray(HEADER_LENGTH, HEADER_LENGTH + length), bytes[3] ?? 0);
      bytes = bytes.subarray(HEADER_LENGTH + length);
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#chunksLength = bytes.length;
    this.#arrivals.wake();
  }

  /** The bytes that the frame which has begun needs in all. */
  #wantedLength(): number {
    const first = this.#chunks[0];
    if (first === undefined || first.length < HEADER_LENGTH) return HEADER_LENGTH;
    return first.readUIntLE(0, 3) + HEADER_LENGTH;
  }

  #accept(body: Buffer, sequence: number): void {
    this.#frames.push(body);
    if (body.length === FRAME_LENGTH_MAX) return;
    const payload = this.#frames.length === 1 ? body : Buffer.concat(this.#frames);
    this.#frames = [];
    this.#arrivals.all.push({ sequence, payload });
  }
}

/** A packet as it is on the wire; a length that fills the last frame is followed by an empty one. */
export function frames(payload: Uint8Array, sequence: number): Buffer {
  const parts: Uint8Array[] = [];
  let at = 0;
  for (let number = sequence; ; number++) {
    const part = payload.subarray(at, at + FRAME_LENGTH_MAX);
    const header = Buffer.alloc(HEADER_LENGTH);
    header.writeUIntLE(part.length, 0, 3);
    header[3] = number & 0xff;
    parts.push(header, part);
    at += part.length;
    if (part.length < FRAME_LENGTH_MAX) return Buffer.concat(parts);
  }
}

/** The parts, unless there is an error among them: then that is thrown. */
export function mustSucceed(parts: readonly Part[]): readonly Part[] {
  const error = parts.find((part) => part.kind === 'error');
  if (error?.kind === 'error') throw new MysqlServerError(error);
  return parts;
}

/** The values of all rows. */
export function rowsOf(parts: readonly Part[]): (string | null)[][] {
  return parts
    .filter((part): part is Part & Row => part.kind === 'row')
    .map(({ values }) => [...values]);
}

/** The id of a statement that was prepared. */
export function statementOf(parts: readonly Part[]): number {
  const [first] = mustSucceed(parts);
  if (first?.kind !== 'prepared') throw new Error('nothing was prepared');
  return first.id;
}

/** An answer as text: a line for each packet, with its number in the sequence. */
export function formatAnswer(parts: readonly Part[]): string {
  return parts.map((part) => `${part.sequence} ${formatPart(part)}`).join('\n');
}
