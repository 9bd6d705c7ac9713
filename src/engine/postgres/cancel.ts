/**
 * Cancelling what a database connection runs. Its key is as long as the database made it: 4 bytes, or up
 * to 256 since protocol 3.2; a database that gave none cannot be asked. A CancelRequest travels on a connection
 * of its own, one of those of a `CancelQueue`. The database has signalled its
 * process by the time it closes the cancel connection, and a process that is idle by then ignores the
 * signal (`ProcessInterrupts` in src/backend/tcop/postgres.c). When it never closes, the signal may
 * still come at any time, so what it is meant for must not serve anybody else.
 */

import { Timer, type TimerWheel } from '../../base/timer-wheel.ts';
import type { Stream, StreamHandler } from '../../net/stream.ts';
import { CancelQueue, type Cancellable as QueuedCancellable } from '../cancel-queue.ts';
import type { ConnectTarget } from '../target-place.ts';
import { TargetConnect } from './login/target-connect.ts';
import { cancelRequestMessage } from './wire/frontend.ts';

/** For the whole exchange. */
const CANCEL_TIMEOUT_MS = 10_000;

/** What a CancelRequest can be meant for. */
export interface Cancellable extends QueuedCancellable {
  /** `undefined` when the database sent no BackendKeyData. */
  readonly cancelKey: { readonly processId: number; readonly key: Uint8Array } | undefined;
}

export class Canceller {
  private readonly target: ConnectTarget;
  private readonly queue = new CancelQueue<Cancellable>((connection, ended) => {
    const key = connection.cancelKey;
    if (key === undefined) ended();
    else this.send(connection, cancelRequestMessage(key.processId, key.key), ended);
  });

  constructor(target: ConnectTarget) {
    this.target = target;
  }

  /**
   * Asks the database to cancel what `connection` runs. `done` is called when the database has taken
   * note, or cannot be reached, or there is nothing to cancel with.
   */
  cancel(connection: Cancellable, done: () => void = () => {}): void {
    if (connection.cancelKey === undefined) done();
    else this.queue.cancel(connection, done);
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

  congested(): void {}

  drained(): void {}

  closed(): void {
    this.wheel.disarm(this.deadline);
    this.callbacks.ended();
  }
}
