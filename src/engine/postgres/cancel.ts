/**
 * Cancelling what a database connection runs. Its key is as long as the database made it: 4 bytes, or up
 * to 256 since protocol 3.2; a database that gave none cannot be asked. A CancelRequest travels on a connection of its own and
 * names the database process, not the statement; so while one is on its way its connection must not
 * be lent to another client (`Cancellable.cancelsInFlight`). The database has signalled its
 * process by the time it closes the cancel connection, and a process that is idle by then ignores the
 * signal (`ProcessInterrupts` in src/backend/tcop/postgres.c). When it never closes, the signal may
 * still come at any time, so what it is meant for must not serve anybody else.
 */

import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import type { DatabaseCloseReason } from '../../observe/reasons.ts';
import { type ConnectTarget, TargetConnect } from './login/target-connect.ts';
import { cancelRequestMessage } from './wire/frontend.ts';

/** Cancel connections to one target at a time; the rest wait. A storm of cancels must not be one of connects. */
const CANCELS_AT_ONCE_MAX = 8;
/** Waiting cancels beyond this are dropped: the statement runs on, as when the packet is lost. */
const CANCELS_WAITING_MAX = 10_000;
/** For the whole exchange. */
const CANCEL_TIMEOUT_MS = 10_000;

/** A database connection, as far as a cancel is concerned. */
export interface Cancellable {
  /** `undefined` when the database sent no BackendKeyData. */
  readonly cancelKey: { readonly processId: number; readonly key: Uint8Array } | undefined;
  /** Nothing runs on it. */
  readonly isAtRest: boolean;
  /** CancelRequests for it that the database has not finished with. Written by the canceller only. */
  cancelsInFlight: number;
  /** Why it must not be lent again. */
  unfitBy: DatabaseCloseReason | undefined;
  /** A CancelRequest for it has been dealt with. */
  cancelEnded(): void;
}

interface Waiting {
  readonly connection: Cancellable;
  readonly done: () => void;
}

export class Canceller {
  private readonly target: ConnectTarget;
  private underWay = 0;
  private readonly waiting: Waiting[] = [];

  constructor(target: ConnectTarget) {
    this.target = target;
  }

  /**
   * Asks the database to cancel what `connection` runs. `done` is called when the database has taken
   * note, or cannot be reached, or there is nothing to cancel with.
   */
  cancel(connection: Cancellable, done: () => void = () => {}): void {
    const isDropped =
      connection.cancelKey === undefined || this.waiting.length >= CANCELS_WAITING_MAX;
    if (isDropped) {
      done();
      return;
    }
    connection.cancelsInFlight++;
    this.waiting.push({ connection, done });
    this.next();
  }

  private next(): void {
    if (this.underWay >= CANCELS_AT_ONCE_MAX) return;
    const next = this.waiting.shift();
    if (next === undefined) return;
    const { connection } = next;
    this.underWay++;
    const ended = () => {
      this.underWay--;
      connection.cancelsInFlight--;
      connection.cancelEnded();
      next.done();
      this.next();
    };
    const key = connection.cancelKey;
    // What was running when this was asked may be over by now.
    if (key === undefined || connection.isAtRest) ended();
    else this.send(connection, cancelRequestMessage(key.processId, key.key), ended);
  }

  private send(connection: Cancellable, request: Uint8Array, ended: () => void): void {
    const timedOut = () => {
      connection.unfitBy = 'reset_failed';
    };
    const { target } = this;
    // The key is worth as much as the password of the statement that it can end: same TLS as a login.
    new TargetConnect(target, {
      opened: (stream) => new CancelExchange(stream, request, target.wheel, { ended, timedOut }),
      failed: ended,
    });
  }
}

interface CancelCallbacks {
  /** The request was sent and nobody knows whether it arrived; `ended` follows. */
  timedOut(): void;
  ended(): void;
}

/**
 * Sends the request and waits until the database closes. Not even its own half is closed before: a pooler
 * in between takes that for a client that has gone, and forgets the request.
 */
class CancelExchange implements StreamHandler {
  private readonly wheel: TimerWheel;
  private readonly deadline: Timer;
  private readonly callbacks: CancelCallbacks;

  constructor(stream: Stream, request: Uint8Array, wheel: TimerWheel, callbacks: CancelCallbacks) {
    this.wheel = wheel;
    this.callbacks = callbacks;
    this.deadline = new Timer(() => {
      callbacks.timedOut();
      stream.destroy();
    });
    wheel.arm(this.deadline, CANCEL_TIMEOUT_MS);
    stream.handler = this;
    stream.write(request);
  }

  received(): void {}

  drained(): void {}

  closed(): void {
    this.wheel.disarm(this.deadline);
    this.callbacks.ended();
  }
}
