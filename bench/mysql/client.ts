/**
 * A client of MySQL that does one thing, at little cost: asks the same again as soon as it is answered. What the answer
 * says is not looked at, but for errors and the status that ends it.
 */

import { createSecureContext } from 'node:tls';
import type { Socket, TLSOptions } from 'bun';
import { CAPABILITY, COMMAND } from '../../test/harness/mysql/constants.ts';
import {
  type Greeting,
  type HandshakeAnswer,
  handshakeAnswer,
  parseGreeting,
  sslRequest,
} from '../../test/harness/mysql/handshake.ts';
import { MysqlLogin } from '../../test/harness/mysql/login.ts';
import type { Address, Credentials } from '../wire/raw-client.ts';

const HEADER_LENGTH = 4;
const COLLATION = 45;
const MAX_PACKET = 1 << 24;
const END_LENGTH_MAX = 9;
const CAPABILITIES =
  CAPABILITY.LONG_PASSWORD |
  CAPABILITY.PROTOCOL_41 |
  CAPABILITY.TRANSACTIONS |
  CAPABILITY.SECURE_CONNECTION |
  CAPABILITY.CONNECT_WITH_DB |
  CAPABILITY.PLUGIN_AUTH |
  CAPABILITY.DEPRECATE_EOF;

let secureContext: unknown;

/** What all handshakes share; certificates are not looked at. */
function tlsOptions(): TLSOptions {
  secureContext ??= createSecureContext({}).context;
  const options: Readonly<Record<string, unknown>> = { rejectUnauthorized: false, secureContext };
  // Bun takes the context of `node:tls`; its types do not say so.
  return options as TLSOptions;
}

export interface ClientOptions {
  readonly address: Address;
  readonly credentials: Credentials;
  readonly hasTls: boolean;
}

type Phase = 'greeting' | 'login' | 'ready';

export class LoadClient {
  readonly #options: ClientOptions;
  readonly #ready = Promise.withResolvers<void>();
  #socket: Socket | undefined;
  #hasTls = false;
  #phase: Phase = 'greeting';
  #login: MysqlLogin | undefined;
  #kept: Buffer = Buffer.alloc(0);
  /** Result packets of the answer so far: the count, the columns, the rows. */
  #packets = 0;
  #query: Buffer = Buffer.alloc(0);
  #onAnswer: () => boolean = () => false;
  #over: PromiseWithResolvers<void> | undefined;

  private constructor(options: ClientOptions) {
    this.#options = options;
  }

  static async connect(options: ClientOptions): Promise<LoadClient> {
    const client = new LoadClient(options);
    const { host: hostname, port } = options.address;
    client.#socket = await Bun.connect({
      hostname,
      port,
      socket: {
        open: (socket) => {
          socket.setNoDelay(true);
        },
        data: (_, chunk) => {
          if (!client.#hasTls) client.#receive(chunk);
        },
        close: () => client.#fail(new Error('the connection ended')),
        error: (_, error) => client.#fail(error),
      },
    });
    await client.#ready.promise;
    return client;
  }

  /** Asks again and again, until `onAnswer` says that it is enough. */
  repeat(sql: string, onAnswer: () => boolean): Promise<void> {
    const payload = Buffer.from(`${String.fromCharCode(COMMAND.QUERY)}${sql}`, 'latin1');
    this.#query = frame(payload, 0);
    this.#onAnswer = onAnswer;
    this.#over = Promise.withResolvers();
    this.#socket?.write(this.#query);
    return this.#over.promise;
  }

  end(): void {
    this.#over = undefined;
    this.#socket?.write(frame(Buffer.from([COMMAND.QUIT]), 0));
    this.#socket?.end();
  }

  #fail(error: Error): void {
    this.#ready.reject(error);
    this.#over?.reject(error);
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#kept.length === 0 ? chunk : Buffer.concat([this.#kept, chunk]);
    let at = 0;
    while (bytes.length - at >= HEADER_LENGTH) {
      const length = bytes.readUIntLE(at, 3);
      const end = at + HEADER_LENGTH + length;
      if (bytes.length < end) break;
      this.#take(bytes, at + HEADER_LENGTH, end, bytes[at + 3] ?? 0);
      at = end;
    }
    this.#kept = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at));
  }

  #take(bytes: Buffer, start: number, end: number, sequence: number): void {
    if (this.#phase === 'ready') {
      this.#takeAnswer(bytes, start, end);
      return;
    }
    const payload = Buffer.from(bytes.subarray(start, end));
    if (payload[0] === 0xff) this.#fail(new Error(payload.toString('utf8', 3)));
    else if (this.#phase === 'greeting') this.#greet(parseGreeting(payload));
    else this.#logIn(payload, sequence);
  }

  #greet(greeting: Greeting): void {
    this.#phase = 'login';
    const { credentials, hasTls } = this.#options;
    const login = new MysqlLogin(credentials.password, { isSecure: hasTls, isTls: hasTls });
    this.#login = login;
    const capabilities = (CAPABILITIES & greeting.capabilities) | (hasTls ? CAPABILITY.SSL : 0);
    const answer: HandshakeAnswer = {
      capabilities,
      mariadbCapabilities: 0,
      maxPacket: MAX_PACKET,
      collation: COLLATION,
      user: credentials.user,
      authentication: login.begin(greeting.plugin, greeting.challenge) ?? Buffer.alloc(0),
      database: credentials.database,
      plugin: greeting.plugin,
      attributes: {},
    };
    if (hasTls) this.#startTls(answer);
    else this.#socket?.write(frame(handshakeAnswer(answer), 1));
  }

  #startTls(answer: HandshakeAnswer): void {
    this.#socket?.write(frame(sslRequest(answer), 1));
    this.#hasTls = true;
    const upgraded = this.#socket?.upgradeTLS<undefined>({
      tls: tlsOptions(),
      socket: {
        handshake: (socket) => {
          socket.write(frame(handshakeAnswer(answer), 2));
        },
        data: (_, chunk) => this.#receive(chunk),
        close: () => this.#fail(new Error('the connection ended')),
      },
    });
    this.#socket = upgraded?.[1];
  }

  #logIn(payload: Buffer, sequence: number): void {
    const send = (answer: Buffer | undefined) => {
      if (answer !== undefined) this.#socket?.write(frame(answer, sequence + 1));
    };
    if (payload[0] === 0x00) {
      this.#phase = 'ready';
      this.#ready.resolve();
    } else if (payload[0] === 0x01) {
      send(this.#login?.more(payload.subarray(1)));
    } else {
      const end = payload.indexOf(0, 1);
      send(this.#login?.begin(payload.toString('utf8', 1, end), payload.subarray(end + 1)));
    }
  }

  /** An answer is over with its OK, which has the header of EOF when rows went before it. */
  #takeAnswer(bytes: Buffer, start: number, end: number): void {
    const header = bytes[start];
    if (header === 0xff) {
      this.#fail(new Error(bytes.toString('utf8', start + 3, end)));
      return;
    }
    const isFirst = this.#packets++ === 0;
    const isEnd = header === 0xfe && end - start <= END_LENGTH_MAX;
    if (!(isFirst && header === 0) && !isEnd) return;
    this.#packets = 0;
    if (this.#onAnswer()) this.#socket?.write(this.#query);
    else this.#over?.resolve();
  }
}

function frame(payload: Uint8Array, sequence: number): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH + payload.length);
  bytes.writeUIntLE(payload.length, 0, 3);
  bytes[3] = sequence;
  bytes.set(payload, HEADER_LENGTH);
  return bytes;
}
