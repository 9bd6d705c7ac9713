/**
 * A client that speaks PostgreSQL's protocol message by message and hides nothing: it sends any
 * bytes, cut anywhere, and keeps every message that comes back. Waits have deadlines; nothing sleeps.
 * A test reads with `next`, `until` or `untilReady`; what was not read stays queued.
 */

import { createConnection, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls, type TLSSocket } from 'node:tls';
import {
  type BackendMessage,
  errorFields,
  formatMessage,
  parameterStatus,
} from './backend-messages.ts';
import { Arrivals, EVENT_DEADLINE_MS, within } from './deadline.ts';
import * as frontend from './frontend-messages.ts';
import { Login } from './login.ts';

const HEADER_LENGTH = 5;

/** Where a database, or a proxy, listens. */
export type Address =
  | { readonly host?: string; readonly port: number }
  | { readonly socketDirectory: string; readonly port: number };

export interface LoginOptions {
  readonly user: string;
  readonly password?: string;
  readonly database?: string;
  /** More start-up parameters, such as `application_name` and `options`. */
  readonly parameters?: Readonly<Record<string, string>>;
  readonly protocol?: number;
  /** Log in over TLS. */
  readonly tls?: ConnectionOptions;
  readonly deadlineMs?: number;
}

/** The server answered a login with an error. */
export class LoginError extends Error {
  readonly fields: ReadonlyMap<string, string>;

  constructor(message: BackendMessage) {
    super(formatMessage(message));
    this.name = 'LoginError';
    this.fields = errorFields(message);
  }

  get sqlState(): string {
    return this.fields.get('C') ?? '';
  }
}

export class RawClient {
  socket: Socket;
  readonly #address: Address;
  readonly #deadlineMs: number;
  readonly #arrivals = new Arrivals<BackendMessage>();
  #readCount = 0;
  #chunks: Buffer[] = [];
  #chunksLength = 0;
  /** One bare byte is due: the answer to SSLRequest or GSSENCRequest. */
  #isByteDue = false;
  #isClosed = false;
  #error: Error | undefined;
  /** ParameterStatus values, as last reported. */
  readonly parameters = new Map<string, string>();
  backendPid = 0;
  backendSecret: Buffer = Buffer.alloc(0);
  /** How the server asked for the password, in order. */
  authentication: readonly string[] = [];

  private constructor(socket: Socket, address: Address, deadlineMs: number) {
    this.socket = socket;
    this.#address = address;
    this.#deadlineMs = deadlineMs;
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => {
      this.#error = error;
    });
    socket.on('close', () => {
      this.#isClosed = true;
      this.#arrivals.wake();
    });
  }

  /** Opens a socket and sends nothing. */
  static async connect(address: Address, deadlineMs = EVENT_DEADLINE_MS): Promise<RawClient> {
    const socket = createConnection(socketOptions(address));
    const client = new RawClient(socket, address, deadlineMs);
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

  /** Opens a socket, logs in, and reads up to the first ReadyForQuery. */
  static async login(address: Address, options: LoginOptions): Promise<RawClient> {
    const client = await RawClient.connect(address, options.deadlineMs);
    try {
      if (options.tls !== undefined) await client.startTls(options.tls);
      await client.logIn(options);
      return client;
    } catch (error) {
      client.destroy();
      throw error;
    }
  }

  /** Logs in on an open socket. Returns what came after the authentication. */
  async logIn(options: LoginOptions): Promise<BackendMessage[]> {
    const { user, database = user, parameters = {}, protocol } = options;
    this.send(frontend.startup({ user, database, ...parameters }, protocol));
    const login = new Login(user, options.password ?? '');
    const messages: BackendMessage[] = [];
    for (;;) {
      const message = await this.next();
      if (message.type === 'E') throw new LoginError(message);
      if (message.type === 'R') {
        const answer = login.answer(message.body);
        if (answer !== undefined) this.send(answer);
        continue;
      }
      messages.push(message);
      if (message.type === 'K') this.#keepKey(message.body);
      if (message.type === 'Z') break;
    }
    this.authentication = login.methods;
    return messages;
  }

  /** Sends an SSLRequest or GSSENCRequest and returns the one byte that answers it. */
  async requestEncryption(request: Uint8Array): Promise<string> {
    this.#isByteDue = true;
    this.send(request);
    return (await this.next()).type;
  }

  /** Asks for TLS and, when the server has it, begins it. */
  async startTls(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const answer = await this.requestEncryption(frontend.sslRequest());
    if (answer !== 'S') throw new Error(`the server answered ${answer} to SSLRequest`);
    return await this.handshake(options);
  }

  /** Begins TLS without asking. Resolves when the handshake has succeeded; certificates are not checked. */
  async handshake(options: ConnectionOptions = {}): Promise<TLSSocket> {
    const plain = this.socket;
    plain.removeAllListeners('data');
    const ended = Promise.withResolvers<void>();
    const tls = connectTls({ rejectUnauthorized: false, ...options, socket: plain }, ended.resolve);
    tls.on('error', (error) => {
      this.#error = error;
      ended.reject(error);
    });
    tls.on('close', () => {
      this.#isClosed = true;
      this.#arrivals.wake();
      ended.reject(this.#error ?? new Error('closed in the handshake'));
    });
    tls.on('data', (chunk: Buffer) => this.#receive(chunk));
    this.socket = tls;
    await within(ended.promise, 'a TLS handshake', this.#deadlineMs);
    return tls;
  }

  /** Sends in one write. */
  send(...messages: readonly Uint8Array[]): void {
    this.socket.write(Buffer.concat(messages));
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
  get received(): readonly BackendMessage[] {
    return this.#arrivals.all;
  }

  /** What arrived and was not read yet. */
  get unread(): readonly BackendMessage[] {
    return this.#arrivals.all.slice(this.#readCount);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The next message that was not read yet. */
  async next(deadlineMs = this.#deadlineMs): Promise<BackendMessage> {
    const message = await this.#arrivals.until(
      () => {
        const found = this.#arrivals.all[this.#readCount];
        if (found === undefined && this.#isClosed) throw this.#closedError('a message');
        return found;
      },
      () => this.#describeWait('a message'),
      deadlineMs,
    );
    this.#readCount++;
    return message;
  }

  /** Reads up to and including the message that is the `count`th of this type. */
  async until(type: string, count = 1, deadlineMs = this.#deadlineMs): Promise<BackendMessage[]> {
    const what = `${count} message(s) ${type}`;
    let seen = 0;
    let at = this.#readCount;
    const end = await this.#arrivals.until(
      () => {
        for (; at < this.#arrivals.all.length; at++) {
          if (this.#arrivals.all[at]?.type === type) seen++;
          if (seen === count) return at + 1;
        }
        if (this.#isClosed) throw this.#closedError(what);
        return undefined;
      },
      () => this.#describeWait(what),
      deadlineMs,
    );
    const messages = this.#arrivals.all.slice(this.#readCount, end);
    this.#readCount = end;
    return messages;
  }

  /** Reads up to the next ReadyForQuery, or the `count`th. */
  untilReady(count = 1, deadlineMs = this.#deadlineMs): Promise<BackendMessage[]> {
    return this.until('Z', count, deadlineMs);
  }

  /** Runs a simple query and reads its whole answer. */
  query(sql: string): Promise<BackendMessage[]> {
    this.send(frontend.query(sql));
    return this.untilReady();
  }

  /** Waits until the other side has closed. Returns what was not read. */
  async untilClosed(deadlineMs = this.#deadlineMs): Promise<BackendMessage[]> {
    await this.#arrivals.until(
      () => (this.#isClosed ? true : undefined),
      () => this.#describeWait('the connection to be closed'),
      deadlineMs,
    );
    const messages = this.#arrivals.all.slice(this.#readCount);
    this.#readCount = this.#arrivals.all.length;
    return messages;
  }

  /** Asks for this session's statement to be cancelled. Resolves when the request was taken. */
  async cancel(secret: Uint8Array = this.backendSecret, hasTls = false): Promise<void> {
    const client = await RawClient.connect(this.#address, this.#deadlineMs);
    if (hasTls) await client.startTls();
    client.send(frontend.cancelRequest(this.backendPid, secret));
    await client.untilClosed();
  }

  /** Says goodbye and waits for the end. */
  async end(): Promise<void> {
    if (this.#isClosed) return;
    this.socket.end(frontend.terminate());
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

  #receive(chunk: Buffer): void {
    if (this.#isByteDue) {
      this.#isByteDue = false;
      this.#accept(chunk.toString('latin1', 0, 1), Buffer.alloc(0));
      this.#arrivals.wake();
      if (chunk.length > 1) this.#receive(chunk.subarray(1));
      return;
    }
    this.#chunks.push(chunk);
    this.#chunksLength += chunk.length;
    if (this.#chunksLength < this.#wantedLength()) return;
    let bytes = this.#chunks.length === 1 ? chunk : Buffer.concat(this.#chunks);
    while (bytes.length >= HEADER_LENGTH) {
      const length = bytes.readInt32BE(1) + 1;
      if (length < HEADER_LENGTH) throw new Error(`backend message of length ${length - 1}`);
      if (bytes.length < length) break;
      this.#accept(bytes.toString('latin1', 0, 1), bytes.subarray(HEADER_LENGTH, length));
      bytes = bytes.subarray(length);
    }
    this.#chunks = bytes.length === 0 ? [] : [bytes];
    this.#chunksLength = bytes.length;
    this.#arrivals.wake();
  }

  /** The bytes that the message which has begun needs in all. */
  #wantedLength(): number {
    const first = this.#chunks[0];
    if (first === undefined || first.length < HEADER_LENGTH) return HEADER_LENGTH;
    return first.readInt32BE(1) + 1;
  }

  #accept(type: string, body: Buffer): void {
    const message = { type, body };
    if (type === 'S' && body.length > 0) this.parameters.set(...parameterStatus(message));
    this.#arrivals.all.push(message);
  }

  #keepKey(body: Buffer): void {
    this.backendPid = body.readInt32BE(0);
    this.backendSecret = body.subarray(4);
  }

  #closedError(what: string): Error {
    const text = `the connection was closed while waiting for ${what}`;
    return new Error(`${text}\n${this.#transcript()}`, { cause: this.#error });
  }

  #describeWait(what: string): string {
    return `${what}\n${this.#transcript()}`;
  }

  #transcript(): string {
    const lines = this.unread.slice(-20).map((message) => `  < ${formatMessage(message)}`);
    return `unread so far:\n${lines.join('\n') || '  nothing'}`;
  }
}

function socketOptions(address: Address): { path: string } | { host: string; port: number } {
  if ('socketDirectory' in address) {
    return { path: `${address.socketDirectory}/.s.PGSQL.${address.port}` };
  }
  return { host: address.host ?? '127.0.0.1', port: address.port };
}
