/**
 * What one turn of the event loop writes to many sockets goes out in one system call at its end.
 *
 * A send wakes whoever waits for it, and on a busy machine the one that was woken often gets the
 * processor at once: with a call for each send, the proxy is put aside in the middle of a turn again
 * and again. docs/decisions/2026-11-21-sends-go-out-together.md has the measurements.
 */

import { IoUring, IoUringUnavailable } from './io-uring.ts';

/** Sends in one batch; with more, the batch goes out early. A power of two. */
const SENDS_MAX = 256;
/** Longer writes are worth a call of their own, which says at once how much was taken. */
export const BATCHED_BYTES_MAX = 16 * 1024;
/** No answer of the kernel: neither a length nor an errno. */
const NOT_SENT = -2147483648;

export interface BatchedSocket {
  /** The file descriptor. */
  readonly fd: number;
  /** `result`: bytes of `bytes` that were taken, or below 0 when none could be. */
  sent(bytes: Uint8Array, result: number): void;
}

export class SendBatch {
  private ring: IoUring | undefined = undefined;
  private sockets: BatchedSocket[] = [];
  private chunks: Uint8Array[] = [];
  private readonly results = new Int32Array(SENDS_MAX);
  private isScheduled = false;
  private readonly turnEnded = (): void => {
    this.isScheduled = false;
    this.flush();
  };

  /** Sockets opened from now on send in batches. Returns why that cannot be, if it cannot. */
  start(): string | undefined {
    try {
      this.ring ??= new IoUring(SENDS_MAX);
      return undefined;
    } catch (error) {
      if (error instanceof IoUringUnavailable) return error.message;
      throw error;
    }
  }

  get isOn(): boolean {
    return this.ring !== undefined;
  }

  /** The number of a socket that has just been opened. */
  descriptorOf(socket: object): number {
    // Bun's types do not know of it.
    const fd: unknown = Reflect.get(socket, 'fd');
    if (typeof fd !== 'number') return -1;
    // Nobody else can have it: a socket of which we did not hear that it was closed must not write to this one.
    const former = this.sockets.find((other) => other.fd === fd);
    if (former !== undefined) this.forget(former);
    return fd;
  }

  /** `socket` has nothing in the batch. It is told what came of it before the turn ends. */
  add(socket: BatchedSocket, bytes: Uint8Array): void {
    const { ring } = this;
    if (ring === undefined) throw new Error('a batch that was not started');
    if (this.sockets.length === SENDS_MAX) this.flush();
    ring.putSend(this.sockets.length, socket.fd, bytes);
    this.sockets.push(socket);
    this.chunks.push(bytes);
    if (this.isScheduled) return;
    this.isScheduled = true;
    setImmediate(this.turnEnded);
  }

  /**
   * The socket is gone: what it had in the batch is not sent, for its number may be another's by then.
   */
  forget(socket: BatchedSocket): void {
    const index = this.sockets.indexOf(socket);
    if (index === -1) return;
    this.ring?.cancel(index);
    this.sockets[index] = GONE;
  }

  /** Sends now. Sockets are told what came of it when all of it has been sent. */
  flush(): void {
    const { ring, sockets, chunks, results } = this;
    if (ring === undefined || sockets.length === 0) return;
    this.sockets = [];
    this.chunks = [];
    results.fill(NOT_SENT, 0, sockets.length);
    ring.submit(results);
    for (let index = 0; index < sockets.length; index++) {
      sockets[index]?.sent(chunks[index] ?? NOTHING, results[index] ?? NOT_SENT);
    }
  }
}

const NOTHING = new Uint8Array(0);
const GONE: BatchedSocket = { fd: -1, sent() {} };

/** That of this process. */
export const SEND_BATCH = new SendBatch();
