/**
 * A PostgreSQL client that speaks in bytes, so that a test can say anything, stop anywhere and
 * leave rudely. One reader at a time: `receive` hands out messages in order. It never reconnects
 * and never retries. Its only timer is the deadline of the login.
 */

import { createSecureContext } from 'node:tls';
import type { Socket, TLSOptions } from 'bun';
import { type Frame, FrameAssembler, fieldsOf } from './frames.ts';
import * as message from './messages.ts';
import { md5Response, ScramClient } from './scram.ts';

const LOGIN_DEADLINE_MS = 60_000;

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Credentials {
  readonly user: string;
  readonly password: string;
  readonly database: string;
}

/** What all handshakes share; to make it takes longer than a handshake. */
let secureContext: unknown;

function tlsOptions(): TLSOptions {
  secureContext ??= createSecureContext({}).context;
  const options: Readonly<Record<string, unknown>> = { rejectUnauthorized: false, secureContext };
  // Bun takes the context of `node:tls`; its types do not say so.
  return options as TLSOptions;
}

/** The connection ended; nothing more can be received. */
export class ConnectionEnded extends Error {
  constructor() {
    super('the connection ended');
    this.name = 'ConnectionEnded';
  }
}

/** The server's own error, with its SQLSTATE. */
export class ServerError extends Error {
  readonly sqlState: string;

  constructor(body: Buffer) {
    const fields = fieldsOf(body);
    super(fields.get('M') ?? '');
    this.name = 'ServerError';
    this.sqlState = fields.get('C') ?? '';
  }
}

interface Reader {
  resolve(frame: Frame): void;
  reject(error: Error): void;
}

export class RawClient {
  readonly #address: Address;
  #socket: Socket | undefined;
  readonly #frames = new FrameAssembler();
  readonly #received: Frame[] = [];
  readonly #unsent: Uint8Array[] = [];
  #reader: Reader | undefined;
  #whenFlushed: (() => void)[] = [];
  #hasEnded = false;
  /** The plain socket below still reports what comes; only the one above is listened to. */
  #hasTls = false;
  cancelKey: message.CancelKey | undefined;
  /** Set to see the bytes as they come instead of messages. */
  onBytes: ((chunk: Buffer) => void) | undefined;

  private constructor(address: Address) {
    this.#address = address;
  }

  /** Opens the TCP connection and says nothing yet. */
  static async open(address: Address): Promise<RawClient> {
    const client = new RawClient(address);
    client.#socket = await Bun.connect({
      hostname: address.host,
      port: address.port,
      socket: {
        open: (socket) => {
          socket.setNoDelay(true);
        },
        data: (_, chunk) => client.#onData(chunk),
        drain: () => client.#drain(),
        close: () => client.#onEnd(),
        error: () => client.#onEnd(),
        end: () => client.#onEnd(),
      },
    });
    return client;
  }

  /** Opens and logs in. */
  static async connect(
    address: Address,
    credentials: Credentials,
    hasTls = false,
  ): Promise<RawClient> {
    const client = await RawClient.open(address);
    const deadline = setTimeout(() => client.reset(), LOGIN_DEADLINE_MS);
    try {
      if (hasTls) await client.#startTls();
      await client.#login(credentials);
    } catch (error) {
      client.reset();
      throw error;
    } finally {
      clearTimeout(deadline);
    }
    return client;
  }

  /** Its own; 0 when it is gone. */
  get localPort(): number {
    return this.#hasEnded ? 0 : (this.#socket?.localPort ?? 0);
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  send(...parts: readonly Uint8Array[]): void {
    const bytes = parts.length === 1 && parts[0] ? parts[0] : Buffer.concat(parts);
    if (this.#hasEnded || !this.#socket) return;
    if (this.#unsent.length > 0) {
      this.#unsent.push(bytes);
      return;
    }
    const written = this.#socket.write(bytes);
    if (written < bytes.length) this.#unsent.push(bytes.subarray(Math.max(written, 0)));
  }

  /** Resolves when the kernel has taken everything that was sent, or the connection has ended. */
  flushed(): Promise<void> {
    if (this.#unsent.length === 0 || this.#hasEnded) return Promise.resolve();
    return new Promise((resolve) => this.#whenFlushed.push(resolve));
  }

  /** The next message; rejects with `ConnectionEnded` once there are no more. */
  receive(): Promise<Frame> {
    const frame = this.#received.shift();
    if (frame) return Promise.resolve(frame);
    if (this.#hasEnded) return Promise.reject(new ConnectionEnded());
    return new Promise((resolve, reject) => {
      this.#reader = { resolve, reject };
    });
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  /** Says goodbye as the protocol asks. */
  terminate(): void {
    this.send(message.terminate());
    this.end();
  }

  /** Closes with FIN, saying nothing. */
  end(): void {
    this.#socket?.end();
    this.#onEnd();
  }

  /** Closes with RST: a killed client, a pulled cable. */
  reset(): void {
    this.#socket?.terminate();
    this.#onEnd();
  }

  /** Sends a CancelRequest on a connection of its own, with this client's key or the one given. */
  async cancel(key = this.cancelKey): Promise<void> {
    if (!key) return;
    const messenger = await RawClient.open(this.#address);
    messenger.send(message.cancelRequest(key));
    await messenger.receive().catch(() => undefined);
    messenger.end();
  }

  /** Without a look at the certificate: this measures, it does not protect. */
  #startTls(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.send(message.sslRequest());
    this.onBytes = (answer) => {
      this.onBytes = () => undefined;
      if (answer.toString('latin1') !== 'S' || !this.#socket) {
        reject(new Error('the server has no TLS'));
        return;
      }
      const [, tls] = this.#socket.upgradeTLS<undefined>({
        tls: tlsOptions(),
        socket: {
          handshake: () => {
            this.onBytes = undefined;
            resolve();
          },
          data: (_, chunk) => this.#receiveChunk(chunk),
          drain: () => this.#drain(),
          close: () => {
            reject(new ConnectionEnded());
            this.#onEnd();
          },
        },
      });
      this.#hasTls = true;
      this.#socket = tls;
    };
    return promise;
  }

  async #login(credentials: Credentials): Promise<void> {
    const { user, database } = credentials;
    this.send(message.startup({ user, database, application_name: 'raw-client' }));
    const scram = new ScramClient(credentials.password);
    for (;;) {
      const { type, body } = await this.receive();
      if (type === 'E') throw new ServerError(body);
      if (type === 'R') this.#authenticate(body, credentials, scram);
      if (type === 'K') {
        this.cancelKey = { processId: body.readInt32BE(0), secret: body.readInt32BE(4) };
      }
      if (type === 'Z') return;
    }
  }

  #authenticate(body: Buffer, credentials: Credentials, scram: ScramClient): void {
    const kind = body.readInt32BE(0);
    const rest = body.subarray(4);
    if (kind === 3) this.send(message.password(credentials.password));
    if (kind === 5) {
      const answer = md5Response(credentials.user, credentials.password, rest);
      this.send(message.password(answer));
    }
    if (kind === 10) this.send(message.saslInitialResponse('SCRAM-SHA-256', scram.first()));
    if (kind === 11) this.send(message.saslResponse(scram.final(rest.toString())));
    if (kind === 12) scram.verify(rest.toString());
  }

  #onData(chunk: Buffer): void {
    if (this.onBytes) {
      this.onBytes(chunk);
      return;
    }
    if (!this.#hasTls) this.#receiveChunk(chunk);
  }

  #receiveChunk(chunk: Buffer): void {
    this.#frames.push(chunk, (frame) => {
      const reader = this.#reader;
      if (!reader) {
        this.#received.push(frame);
        return;
      }
      this.#reader = undefined;
      reader.resolve(frame);
    });
  }

  #drain(): void {
    while (this.#unsent.length > 0 && this.#socket) {
      const bytes = this.#unsent[0] ?? Buffer.alloc(0);
      const written = Math.max(this.#socket.write(bytes), 0);
      if (written < bytes.length) {
        this.#unsent[0] = bytes.subarray(written);
        return;
      }
      this.#unsent.shift();
    }
    this.#releaseFlushed();
  }

  #onEnd(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#unsent.length = 0;
    this.#releaseFlushed();
    this.#reader?.reject(new ConnectionEnded());
    this.#reader = undefined;
  }

  #releaseFlushed(): void {
    const waiting = this.#whenFlushed;
    this.#whenFlushed = [];
    for (const resolve of waiting) resolve();
  }
}
