/**
 * Sockets that are legal and no more: what arrives is handed on in pieces, a write takes what it
 * likes, and the rest goes later. Put between Bun and whoever uses its sockets, so Berth's own code
 * runs as it is. What goes through a TLS handshake is not cut; what it protects is.
 */

import type { Socket, SocketHandler } from 'bun';
import type { Random } from '../soak/random.ts';
import type { Tally } from './tally.ts';

/** Up to here every byte travels alone. What is kept until it is whole is copied with every piece. */
const ALONE_MAX = 512;
/** Long chunks come in about so many pieces. */
const PIECES = 40;
/** How often somebody else has a turn between two pieces. */
const TURN_CHANCE = 0.01;
const STALL_CHANCE = 0.2;
const STALL_MAX_MS = 4;
/** What is shorter always fits. */
const STALLING_MIN = 2;

export interface HostileSocketOptions {
  readonly random: Random;
  readonly tally: Tally;
  readonly isCutting: boolean;
  readonly isStalling: boolean;
}

type AnySocket = Socket<unknown>;
type Handlers = SocketHandler<unknown>;
type UpgradeOptions = Parameters<AnySocket['upgradeTLS']>[0] & { readonly initialData?: Buffer };

interface WithHandlers {
  readonly socket: Handlers;
}

const EMPTY = Buffer.alloc(0);

export function makeSocketsHostile(options: HostileSocketOptions): void {
  for (const name of ['listen', 'connect'] as const) {
    const original: unknown = Reflect.get(Bun, name);
    if (typeof original !== 'function') throw new Error(`Bun has no ${name}`);
    const hostile = (request: WithHandlers): unknown =>
      Reflect.apply(original, Bun, [{ ...request, socket: intercepted(request.socket, options) }]);
    Reflect.set(Bun, name, hostile);
  }
}

/** The handlers of one listener, connection or TLS session, with us in front of them. */
function intercepted(handlers: Handlers, options: HostileSocketOptions): Handlers {
  const interceptions = new WeakMap<AnySocket, Interception>();
  const of = (socket: AnySocket): Interception => {
    let interception = interceptions.get(socket);
    if (interception === undefined) {
      interception = new Interception(socket, handlers, options);
      interceptions.set(socket, interception);
    }
    return interception;
  };
  return {
    ...handlers,
    open(socket) {
      of(socket);
      handlers.open?.(socket);
    },
    data: (socket, bytes) => of(socket).received(bytes),
    drain: (socket) => of(socket).drained(),
    close: (socket, error) => of(socket).closed(error),
  };
}

/** One socket. */
class Interception {
  private readonly socket: AnySocket;
  private readonly handlers: Handlers;
  private readonly options: HostileSocketOptions;
  /** What has arrived and is not delivered. */
  private rest: Buffer = EMPTY;
  private isDelivering = false;
  private isPaused = false;
  private isStalled = false;
  private isUpgraded = false;
  private isOver = false;
  /** The end came while something was not delivered. */
  private end: (() => void) | undefined = undefined;

  constructor(socket: AnySocket, handlers: Handlers, options: HostileSocketOptions) {
    this.socket = socket;
    this.handlers = handlers;
    this.options = options;
    // What is sent past the socket is not seen here.
    Object.defineProperty(socket, 'fd', { value: -1 });
    if (options.isCutting) this.interceptReading();
    if (options.isStalling) this.interceptWriting();
    this.interceptTls();
  }

  received(bytes: Buffer): void {
    if (!this.options.isCutting || this.isUpgraded) {
      this.handlers.data?.(this.socket, bytes);
      return;
    }
    this.rest = this.rest.length === 0 ? bytes : Buffer.concat([this.rest, bytes]);
    this.deliver();
  }

  drained(): void {
    if (!this.isStalled) this.handlers.drain?.(this.socket);
  }

  closed(error: Error | undefined): void {
    const end = () => {
      this.isOver = true;
      this.handlers.close?.(this.socket, error);
    };
    if (this.rest.length === 0 || this.isOver) {
      end();
      return;
    }
    this.end = end;
    this.deliver();
  }

  private interceptReading(): void {
    const { socket } = this;
    const pause = socket.pause.bind(socket);
    const resume = socket.resume.bind(socket);
    const terminate = socket.terminate.bind(socket);
    socket.pause = () => {
      this.isPaused = true;
      return pause();
    };
    socket.resume = () => {
      this.isPaused = false;
      if (this.rest.length > 0) this.deliverLater();
      return resume();
    };
    socket.terminate = () => {
      this.isOver = true;
      this.rest = EMPTY;
      return terminate();
    };
  }

  private interceptWriting(): void {
    const { socket } = this;
    const { random } = this.options;
    const write: (bytes: Uint8Array) => number = socket.write.bind(socket);
    const stalling = (bytes: Uint8Array): number => {
      if (this.isStalled) return 0;
      const mayStall = bytes.length >= STALLING_MIN && !this.isUpgraded;
      if (!mayStall || !random.chance(STALL_CHANCE)) return write(bytes);
      const part = random.between(0, bytes.length - 1);
      const taken = part === 0 ? 0 : write(bytes.subarray(0, part));
      if (taken === part) this.stall();
      return taken;
    };
    Reflect.set(socket, 'write', stalling);
  }

  private stall(): void {
    const { random, tally } = this.options;
    tally.stalls++;
    this.isStalled = true;
    const flow = () => {
      this.isStalled = false;
      if (!this.isOver) this.handlers.drain?.(this.socket);
    };
    setTimeout(flow, random.between(0, STALL_MAX_MS));
  }

  /** What was read before the handshake, and not delivered, is its beginning. */
  private interceptTls(): void {
    const { socket, options } = this;
    const upgrade = socket.upgradeTLS.bind(socket);
    const hostile = (request: UpgradeOptions): unknown => {
      const early = Buffer.concat([request.initialData ?? EMPTY, this.rest]);
      this.rest = EMPTY;
      this.isUpgraded = true;
      const initialData = early.length === 0 ? {} : { initialData: early };
      return upgrade({
        ...request,
        ...initialData,
        socket: intercepted(request.socket, options),
      });
    };
    Reflect.set(socket, 'upgradeTLS', hostile);
  }

  private deliver(): void {
    if (this.isDelivering) return;
    const { random, tally } = this.options;
    this.isDelivering = true;
    while (this.rest.length > 0 && !this.isPaused && !this.isUpgraded) {
      const length = this.pieceLength();
      const piece = Buffer.from(this.rest.subarray(0, length));
      this.rest = this.rest.subarray(length);
      tally.pieces++;
      this.handlers.data?.(this.socket, piece);
      if (this.rest.length > 0 && random.chance(TURN_CHANCE)) {
        this.deliverLater();
        break;
      }
    }
    this.isDelivering = false;
    if (this.rest.length === 0) this.finish();
  }

  private deliverLater(): void {
    setImmediate(() => this.deliver());
  }

  private finish(): void {
    const { end } = this;
    this.end = undefined;
    end?.();
  }

  private pieceLength(): number {
    const { length } = this.rest;
    if (length <= ALONE_MAX) return 1;
    return this.options.random.between(1, Math.ceil((2 * length) / PIECES));
  }
}
