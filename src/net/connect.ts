/** Opens one outgoing connection, with a deadline. */

import type { Socket } from 'bun';
import { Timer, type TimerWheel } from '../base/timer-wheel.ts';
import type { Address } from './address.ts';
import { type NetErrorCode, netErrorCode } from './net-error.ts';
import { OPEN_SOCKETS } from './open-sockets.ts';
import { SOCKET_HANDLERS, Stream } from './stream.ts';

export interface ConnectCallbacks {
  /** Called once, unless `failed` or `abandon` was. */
  opened(stream: Stream): void;
  failed(code: NetErrorCode): void;
}

/** An attempt under way. */
export class ConnectAttempt {
  private readonly callbacks: ConnectCallbacks;
  private readonly wheel: TimerWheel;
  private readonly timer: Timer;
  private isOver = false;
  /** There is, or may be, a socket that no stream stands for yet. */
  private hasSocket = false;

  constructor(address: Address, timeoutMs: number, wheel: TimerWheel, callbacks: ConnectCallbacks) {
    this.callbacks = callbacks;
    this.wheel = wheel;
    this.timer = new Timer(() => this.fail('timed out'));
    wheel.arm(this.timer, timeoutMs);
    if (OPEN_SOCKETS.mayConnect) this.connect(address);
    else queueMicrotask(() => this.fail('too many open files'));
  }

  private connect(address: Address): void {
    this.hasSocket = true;
    OPEN_SOCKETS.opened();
    const socket = {
      ...SOCKET_HANDLERS,
      open: (socket: Socket<Stream>) => this.open(socket, 'socketPath' in address),
      connectError: (_socket: Socket<Stream>, error: Error) => this.refused(error),
    };
    const attempt =
      'socketPath' in address
        ? Bun.connect<Stream>({ unix: address.socketPath, socket })
        : Bun.connect<Stream>({ hostname: address.host, port: address.port, socket });
    attempt.catch((error: unknown) => this.refused(error));
  }

  /** Gives up; no callback is called any more. */
  abandon(): void {
    this.isOver = true;
    this.wheel.disarm(this.timer);
  }

  private open(socket: Socket<Stream>, isLocal: boolean): void {
    this.socketGone();
    const stream = new Stream(socket, { isLocal });
    socket.data = stream;
    if (this.isOver) {
      stream.destroy();
      return;
    }
    this.abandon();
    if (!isLocal) socket.setNoDelay(true);
    this.callbacks.opened(stream);
  }

  private refused(error: unknown): void {
    this.socketGone();
    this.fail(netErrorCode(error));
  }

  private socketGone(): void {
    if (this.hasSocket) OPEN_SOCKETS.closed();
    this.hasSocket = false;
  }

  private fail(code: NetErrorCode): void {
    if (this.isOver) return;
    this.abandon();
    this.callbacks.failed(code);
  }
}
