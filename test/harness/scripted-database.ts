/**
 * A database that says exactly what a test wants, byte for byte: for what a real PostgreSQL cannot be
 * made to do. A script plays one connection; it sees the start-up packet and reads what the client
 * sends. The proxy's own monitoring connections are answered well, without the script.
 */

import { createServer, type Server, type Socket } from 'node:net';
import { Arrivals } from './deadline.ts';
import { cString, int16, int32, message } from './frontend-messages.ts';

const SSL_REQUEST_CODE = 80_877_103;
const CANCEL_REQUEST_CODE = 80_877_102;
const MONITOR_NAME = 'berth-monitor';

/** A message of the client: its type letter and its body without the length. */
export interface FrontendMessage {
  readonly type: string;
  readonly body: Buffer;
}

export type Script = (session: ScriptedSession) => Promise<void> | void;

export interface ScriptedOptions {
  /** Looks at every start-up packet first, the monitor's too. Returns whether it has dealt with it. */
  readonly turnsAway?: (session: ScriptedSession) => boolean;
}

export class ScriptedDatabase {
  readonly #server: Server;
  readonly #script: Script;
  readonly #options: ScriptedOptions;
  readonly #sockets = new Set<Socket>();
  #isStopped = false;
  /** The connections that the script has played, in their order. */
  readonly sessions: ScriptedSession[] = [];
  /** The bodies of the CancelRequests that came, without their code. */
  readonly cancels = new Arrivals<Buffer>();
  /** What went wrong in a script. */
  readonly errors: unknown[] = [];

  private constructor(script: Script, options: ScriptedOptions) {
    this.#script = script;
    this.#options = options;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async start(script: Script, options: ScriptedOptions = {}): Promise<ScriptedDatabase> {
    const database = new ScriptedDatabase(script, options);
    await new Promise<void>((resolve) => {
      database.#server.listen(0, '127.0.0.1', resolve);
    });
    return database;
  }

  get port(): number {
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('it does not listen');
    return address.port;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    const [error] = this.errors;
    if (error !== undefined) throw error;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #accept(socket: Socket): void {
    if (this.#isStopped) {
      socket.destroy();
      return;
    }
    socket.setNoDelay(true);
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    const session = new ScriptedSession(socket);
    void this.#play(session).catch((error: unknown) => {
      if (!session.isClosed) this.errors.push(error);
      socket.destroy();
    });
  }

  async #play(session: ScriptedSession): Promise<void> {
    let packet = await session.firstPacket();
    if (packet.readInt32BE(0) === SSL_REQUEST_CODE) {
      session.send(Buffer.from('N'));
      packet = await session.firstPacket();
    }
    if (packet.readInt32BE(0) === CANCEL_REQUEST_CODE) {
      this.cancels.push(packet.subarray(4));
      session.end();
      return;
    }
    session.readStartup(packet);
    if (this.#options.turnsAway?.(session) === true) return;
    if (session.parameters.get('application_name') === MONITOR_NAME) {
      await answerMonitor(session);
      return;
    }
    this.sessions.push(session);
    await this.#script(session);
  }
}

/** One connection, seen from the database. */
export class ScriptedSession {
  readonly parameters = new Map<string, string>();
  /** The version that the start-up packet asks for. */
  protocol = 0;
  readonly #socket: Socket;
  readonly #wakeups = new Arrivals<void>();
  #bytes = Buffer.alloc(0);
  #isClosed = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => {
      this.#bytes = Buffer.concat([this.#bytes, chunk]);
      this.#wakeups.wake();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#isClosed = true;
      this.#wakeups.wake();
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** The body of the untyped first packet. */
  async firstPacket(): Promise<Buffer> {
    const length = (await this.#peek(4)).readInt32BE(0);
    await this.#peek(length);
    return this.#take(length).subarray(4);
  }

  readStartup(packet: Buffer): void {
    this.protocol = packet.readInt32BE(0);
    const words = packet.toString('utf8', 4).split('\0');
    for (let at = 0; (words[at] ?? '') !== ''; at += 2) {
      this.parameters.set(words[at] ?? '', words[at + 1] ?? '');
    }
  }

  /** The next message of the client. */
  async next(): Promise<FrontendMessage> {
    const length = (await this.#peek(5)).readInt32BE(1);
    await this.#peek(1 + length);
    const whole = this.#take(1 + length);
    return { type: whole.toString('latin1', 0, 1), body: whole.subarray(5) };
  }

  /** Reads up to and including a message of this type. */
  async until(type: string): Promise<FrontendMessage> {
    for (;;) {
      const found = await this.next();
      if (found.type === type) return found;
    }
  }

  send(...messages: readonly Uint8Array[]): void {
    this.#socket.write(Buffer.concat(messages));
  }

  /** Sends byte by byte, each handed to the kernel before the next. */
  async trickle(...messages: readonly Uint8Array[]): Promise<void> {
    for (const byte of Buffer.concat(messages)) {
      await new Promise<void>((resolve) => {
        this.#socket.write(Buffer.of(byte), () => setImmediate(resolve));
      });
    }
  }

  /** Answers every query in the same way, until the client leaves. */
  async answerQueries(answer: (sql: string) => readonly Uint8Array[]): Promise<void> {
    while (!this.#isClosed) {
      const { type, body } = await this.next();
      if (type === 'X') {
        this.end();
        return;
      }
      if (type === 'Q') this.send(...answer(body.toString('utf8', 0, body.length - 1)));
    }
  }

  end(): void {
    this.#socket.end();
  }

  async #peek(length: number): Promise<Buffer> {
    return await this.#wakeups.until(
      () => {
        if (this.#bytes.length >= length) return this.#bytes;
        if (this.#isClosed) throw new Error('the client left');
        return undefined;
      },
      `${length} bytes from the client`,
      60_000,
    );
  }

  #take(length: number): Buffer {
    const taken = this.#bytes.subarray(0, length);
    this.#bytes = this.#bytes.subarray(length);
    return taken;
  }
}

/** Answers what `probe.ts` asks: 100 connections, 3 of them reserved. */
async function answerMonitor(session: ScriptedSession): Promise<void> {
  session.send(...welcome());
  const facts = ['PostgreSQL 18.0 (scripted)', '100', '3', '0'];
  await session.answerQueries(() => selected(facts));
}

// --- What a database says

export const AUTHENTICATION_OK = authentication(0);
export const READY = message('Z', Buffer.from('I'));

export function authentication(code: number, ...data: readonly Uint8Array[]): Buffer {
  return message('R', int32(code), ...data);
}

/** AuthenticationSASL with these mechanisms. */
export function saslMechanisms(...names: readonly string[]): Buffer {
  return authentication(10, ...names.map(cString), Buffer.alloc(1));
}

export function parameterStatus(name: string, value: string): Buffer {
  return message('S', cString(name), cString(value));
}

export function keyData(processId: number, key: Uint8Array): Buffer {
  return message('K', int32(processId), key);
}

/** ErrorResponse or NoticeResponse with fields such as `SFATAL`. */
export function fields(type: 'E' | 'N', ...values: readonly string[]): Buffer {
  return message(type, ...values.map(cString), Buffer.alloc(1));
}

/** One row of text columns, as the answer to a simple query. */
export function selected(values: readonly string[]): Buffer[] {
  const columns = values.map((_, index) =>
    Buffer.concat([
      cString(`column${index}`),
      int32(0),
      int16(0),
      int32(25),
      int16(0xffff),
      int32(-1),
      int16(0),
    ]),
  );
  const cells = values.map((value) => Buffer.concat([int32(value.length), Buffer.from(value)]));
  return [
    message('T', int16(columns.length), ...columns),
    message('D', int16(cells.length), ...cells),
    message('C', cString('SELECT 1')),
    READY,
  ];
}

/** A login without a password, from AuthenticationOk to ReadyForQuery. */
export function welcome(): Buffer[] {
  return [
    AUTHENTICATION_OK,
    parameterStatus('server_version', '18.0'),
    parameterStatus('client_encoding', 'UTF8'),
    keyData(4711, Buffer.from([1, 2, 3, 4])),
    READY,
  ];
}
