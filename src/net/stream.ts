/**
 * One byte stream over one socket, plain or (after `startTls`) TLS, with flow control.
 *
 * Bun's sockets buffer nothing: `write` takes what the kernel takes. The rest is kept here, by
 * reference, and sent when the socket drains. The handler is told when that begins (`congested`), in
 * the write or later in the same turn of the event loop, and holds whoever produces until `drained`; so
 * a queue is never longer than what one turn brought.
 *
 * Reading stops while anybody holds the stream. Data that the kernel had already handed over may
 * still arrive once after `hold`; handlers cope with that.
 */

import type { Socket } from 'bun';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import { OPEN_SOCKETS } from './open-sockets.ts';
import { BATCHED_BYTES_MAX, SEND_BATCH } from './send-batch.ts';
import { RECORD_BYTES_MAX, type TlsOutcome, type TlsSide } from './tls.ts';

/** Who stops a stream from being read; each holds and lets go for itself. */
export const HOLD_PEER_CONGESTED = 1;
export const HOLD_OWN_CONGESTED = 2;
export const HOLD_QUEUED = 4;
export const HOLD_LEDGER_FULL = 8;

export interface StreamHandler {
  /** The bytes are the handler's: nobody else writes to them or keeps them. */
  received(bytes: Buffer): void;
  /** The kernel has not taken all that was written. May be called again before `drained`. */
  congested(): void;
  /** Everything written has been taken by the kernel. */
  drained(): void;
  /** The socket is gone, whoever closed it. Called once; nothing else is called after it. */
  closed(): void;
}

/** For a stream whose owner has nothing more to do with it. */
export const IGNORE: StreamHandler = { received() {}, congested() {}, drained() {}, closed() {} };

/** The host of clients that come over a Unix socket, as in `log_line_prefix` and pg_hba.conf. */
const LOCAL = '[local]';
/** What was said before a reset is read at once, or never. */
const LAST_WORDS_MS = 100;
/** Smaller buffers are not worth the trouble of `Stream.give`. */
export const GIVEN_MIN = 32 * 1024;

interface Handshake {
  readonly side: TlsSide;
  readonly ended: (outcome: TlsOutcome) => void;
}

export class Stream {
  handler: StreamHandler = IGNORE;
  /** Over a Unix socket: the other side is on this machine, and nobody is in between. */
  readonly isLocal: boolean;
  /** A TLS handshake has succeeded. */
  isEncrypted = false;
  /** Bytes written but not yet taken by the kernel. */
  queuedBytes = 0;
  /** Bytes of the owner's that the kernel has taken; while it is the same, nothing has been sent. */
  takenBytes = 0;
  /** The file descriptor, while writes may go out in batches; else -1. */
  fd: number;
  /** A write waits for the batch to go out. */
  private isBatched = false;
  private socket: Socket<Stream>;
  private queue: Uint8Array[] | undefined = undefined;
  /** Large buffers that are ours alone, see `give`. */
  private given: Set<ArrayBufferLike> | undefined = undefined;
  private holds = 0;
  private isEnding = false;
  /** The other side has reset the connection: nothing can be sent, and what it said before is read. */
  private isBroken = false;
  private disarmLinger: (() => void) | undefined = undefined;
  private isClosed = false;
  private handshake: Handshake | undefined = undefined;

  constructor(
    socket: Socket<Stream>,
    { isLocal }: { readonly isLocal: boolean } = { isLocal: false },
  ) {
    this.socket = socket;
    this.isLocal = isLocal;
    this.fd = SEND_BATCH.isOn ? SEND_BATCH.descriptorOf(socket) : -1;
    OPEN_SOCKETS.opened();
  }

  get isCongested(): boolean {
    return this.queuedBytes > 0;
  }

  /** A Unix socket's is what PostgreSQL calls it. */
  get remoteAddress(): string {
    if (this.isLocal) return LOCAL;
    return `${this.socket.remoteAddress}:${this.socket.remotePort}`;
  }

  /** Without the port; only of TCP. Undefined when the other side has reset the connection already. */
  get remoteHost(): string | undefined {
    // The types do not know of that.
    const host: string | undefined = this.socket.remoteAddress;
    return host || undefined;
  }

  /** Where the connection has ended on this side; only of TCP. */
  get local(): { readonly host: string; readonly port: number } {
    return { host: this.socket.localAddress, port: this.socket.localPort };
  }

  get localAddress(): string {
    if (this.isLocal) return LOCAL;
    return `${this.socket.localAddress}:${this.socket.localPort}`;
  }

  /**
   * Like `write`, for a buffer that nobody else has or will look at: it is freed as soon as it is sent.
   * The garbage collector gets round to it only after tens of megabytes, which a large result brings
   * in a blink.
   */
  give(bytes: Buffer): void {
    if (bytes.length < GIVEN_MIN) {
      this.write(bytes);
      return;
    }
    this.given ??= new Set();
    this.given.add(bytes.buffer);
    this.writeNow(bytes);
    if (this.queuedBytes === 0) this.free(bytes);
  }

  /**
   * Sends `bytes`: at the end of this turn of the event loop at the latest, if the socket takes them.
   * The caller must not change them afterwards.
   */
  write(bytes: Uint8Array): void {
    const mayWait = this.fd >= 0 && !this.isBatched && this.queuedBytes === 0;
    if (mayWait && bytes.length <= BATCHED_BYTES_MAX) {
      this.isBatched = true;
      SEND_BATCH.add(this, bytes);
    } else {
      this.writeNow(bytes);
    }
  }

  /** Sends what waits for the end of the turn; `isCongested` is up to date then. */
  sendNow(): void {
    if (this.isBatched) SEND_BATCH.flush();
  }

  private writeNow(bytes: Uint8Array): void {
    this.sendNow();
    if (this.queuedBytes > 0) {
      this.enqueue(bytes);
      return;
    }
    if (this.isBroken) return;
    const taken = this.socket.write(bytes);
    if (taken > 0) this.takenBytes += taken;
    if (taken === bytes.length) return;
    if (taken < 0) this.broken();
    else this.enqueue(taken > 0 ? bytes.subarray(taken) : bytes);
  }

  /** For the batch only. */
  sent(bytes: Uint8Array, taken: number): void {
    this.isBatched = false;
    if (taken > 0) this.takenBytes += taken;
    if (taken === bytes.length || this.isClosed) return;
    try {
      // Bun tells of a socket that drains only when it has seen for itself that it was full.
      this.writeNow(taken > 0 ? bytes.subarray(taken) : bytes);
    } catch (error) {
      // What this one's handler throws is not the others' affair.
      contain(this, error);
    }
  }

  /**
   * The other side has reset the connection: Bun's `write` returns -1. What it had said before, such as a
   * database's last word, is still to be read; then Bun calls `close`. It may not for a socket that was
   * paused, so the end is ours to make if it does not come.
   */
  private broken(): void {
    if (this.isBroken) return;
    this.isBroken = true;
    this.queue = undefined;
    this.queuedBytes = 0;
    this.readOn();
    setTimeout(() => this.destroy(), LAST_WORDS_MS);
  }

  /** Reads whatever comes until the end: a held socket never sees it. */
  private readOn(): void {
    if (this.holds !== 0) this.socket.resume();
    this.holds = 0;
  }

  /**
   * Puts TLS on top of what the socket is now. `early` has been read already and is part of the
   * handshake. `ended` is called once, maybe before this returns, unless the socket closes first; when
   * the handshake failed the socket closes by itself, but stays when the peer is merely not trusted.
   * Until then nothing is received, and what is written waits.
   */
  startTls(side: TlsSide, ended: (outcome: TlsOutcome) => void, early?: Buffer): void {
    this.stopBatching();
    if (this.isClosed || this.isCongested || this.holds !== 0) {
      throw new Error('TLS can only start on a stream that is open and at rest');
    }
    const { socket } = this;
    this.handshake = { side, ended };
    // Bun goes on telling the plain socket of every chunk; nobody listens there.
    socket.data = NOBODY;
    const { isServer, options } = side;
    const initialData = early === undefined ? {} : { initialData: early };
    // The types know of no server's side, and of no bytes that were read before.
    const upgrade = { isServer, data: this, tls: options, socket: TLS_HANDLERS, ...initialData };
    const [, tls] = socket.upgradeTLS<Stream>(upgrade);
    this.socket = tls;
  }

  /**
   * Tries again to send what is queued. The system tells when that can succeed; but a socket that is
   * both full and held has been seen to miss that its other side is gone, which a write finds out.
   */
  retry(): void {
    if (this.queuedBytes > 0) this.onDrain();
  }

  /** Stops reading until every holder has let go. */
  hold(holder: number): void {
    const holds = this.holds;
    if (this.isEnding || this.isBroken) return;
    this.holds = holds | holder;
    if (holds === 0 && !this.isClosed) this.socket.pause();
  }

  letGo(holder: number): void {
    const holds = this.holds;
    if ((holds & holder) === 0) return;
    this.holds = holds & ~holder;
    if (this.holds === 0 && !this.isClosed) this.socket.resume();
  }

  /**
   * Sends what is queued, then FIN, and waits for the other side's; `handler.closed` is called when
   * that has come, or after `lingerMs`. To close at once would send a reset when unread bytes are
   * left, and the other side would lose what was written last.
   */
  end(wheel: TimerWheel, lingerMs: number): void {
    if (this.isClosed || this.isEnding) return;
    this.stopBatching();
    this.isEnding = true;
    const linger = new Timer(() => this.destroy());
    wheel.arm(linger, lingerMs);
    this.disarmLinger = () => wheel.disarm(linger);
    this.readOn();
    if (this.queuedBytes === 0) this.socket.shutdown();
  }

  /** Closes now, with a reset; what was not taken is lost. `handler.closed` is called before it returns. */
  destroy(): void {
    if (this.isClosed) return;
    this.stopBatching();
    this.socket.terminate();
    this.onClose();
  }

  private enqueue(bytes: Uint8Array): void {
    if (this.isClosed) return;
    this.queue ??= [];
    this.queue.push(bytes);
    this.queuedBytes += bytes.length;
    this.handler.congested();
  }

  private stopBatching(): void {
    this.sendNow();
    this.fd = -1;
  }

  /** Frees the memory of a buffer that was given and has been sent; detached, it is empty. */
  private free({ buffer }: Uint8Array): void {
    if (this.given?.delete(buffer) === true && buffer instanceof ArrayBuffer) buffer.transfer(0);
  }

  /** For the socket's handlers only. */
  onDrain(): void {
    const queue = this.queue;
    if (queue !== undefined && !this.flush(queue)) return;
    if (this.isEnding) this.socket.shutdown();
    else this.handler.drained();
  }

  /** Returns whether the queue is empty now. */
  private flush(queue: Uint8Array[]): boolean {
    let sent = 0;
    for (const bytes of queue) {
      const taken = this.socket.write(bytes);
      if (taken < 0) {
        this.broken();
        return false;
      }
      this.queuedBytes -= taken;
      this.takenBytes += taken;
      if (taken < bytes.length) {
        if (taken > 0) queue[sent] = bytes.subarray(taken);
        queue.splice(0, sent);
        return false;
      }
      this.free(bytes);
      sent++;
    }
    this.queue = undefined;
    return true;
  }

  /** For the socket's handlers only: the TLS socket is there, and may call any other handler. */
  onTlsOpen(socket: Socket<Stream>): void {
    this.socket = socket;
  }

  /** For the socket's handlers only. */
  onHandshake(error: Error | null): void {
    const { handshake, socket } = this;
    this.handshake = undefined;
    if (handshake === undefined || this.isClosed) return;
    const outcome = handshake.side.judge(socket, error);
    if (outcome.isOk || outcome.why === 'untrusted') {
      this.isEncrypted = true;
      socket.setMaxSendFragment(RECORD_BYTES_MAX);
    }
    handshake.ended(outcome);
  }

  /** For the socket's handlers only. */
  onClose(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    if (this.isBatched) SEND_BATCH.forget(this);
    this.fd = -1;
    OPEN_SOCKETS.closed();
    this.disarmLinger?.();
    this.queue = undefined;
    this.queuedBytes = 0;
    const handler = this.handler;
    this.handler = IGNORE;
    handler.closed();
  }
}

/** Hears of what a handler has thrown; until somebody does, it ends the process. */
let whenBroken = (error: unknown): void => {
  throw error;
};

/**
 * From here on, what goes wrong in reading what somebody has sent ends the connection that it came by,
 * and nothing else.
 */
export function containFaults(broken: (error: unknown) => void): void {
  whenBroken = broken;
}

function contain(stream: Stream, error: unknown): void {
  whenBroken(error);
  stream.destroy();
}

/** What Bun calls; the same four functions for every socket, so that each stays hot. */
export const SOCKET_HANDLERS = {
  data(socket: Socket<Stream>, bytes: Buffer): void {
    const stream = socket.data;
    try {
      stream.handler.received(bytes);
    } catch (error) {
      contain(stream, error);
    }
  },
  drain(socket: Socket<Stream>): void {
    const stream = socket.data;
    try {
      stream.onDrain();
    } catch (error) {
      contain(stream, error);
    }
  },
  close(socket: Socket<Stream>): void {
    socket.data.onClose();
  },
  error(socket: Socket<Stream>): void {
    socket.data.onClose();
  },
};

/** The same functions again, so that a chunk of either kind of socket takes the same way. */
const TLS_HANDLERS = {
  ...SOCKET_HANDLERS,
  open(socket: Socket<Stream>): void {
    socket.data.onTlsOpen(socket);
  },
  handshake(socket: Socket<Stream>, _isOk: boolean, refusal: Error | null): void {
    const stream = socket.data;
    try {
      stream.onHandshake(refusal);
    } catch (error) {
      contain(stream, error);
    }
  },
};

/** Whom the plain socket below a TLS socket reports to: a stream that is closed already. */
const NOBODY = nobody();

function nobody(): Stream {
  // Nothing of a closed stream touches its socket.
  const stream = new Stream(undefined as unknown as Socket<Stream>);
  stream.onClose();
  return stream;
}
