/**
 * Cancels on their way to one target. A cancel travels on a connection of its own and names the connection,
 * not the statement; so while one is on its way its connection must not be lent to another client
 * (`Cancellable.cancelsInFlight`). How one is sent is the engine's.
 */

import type { DatabaseCloseReason } from '../observe/reasons.ts';

/** Cancel connections to one target at a time; the rest wait. A storm of cancels must not be one of connects. */
const CANCELS_AT_ONCE_MAX = 8;
/** Waiting cancels beyond this are dropped: the statement runs on, as when the packet is lost. */
const CANCELS_WAITING_MAX = 10_000;

/** A database connection, as far as a cancel is concerned. */
export interface Cancellable {
  /** Nothing runs on it. */
  readonly isAtRest: boolean;
  /** Cancels for it that the database has not finished with. Written by the queue only. */
  cancelsInFlight: number;
  /** Why it must not be lent again. */
  unfitBy: DatabaseCloseReason | undefined;
  /** A cancel for it has been dealt with. */
  cancelEnded(): void;
}

interface Waiting<C> {
  readonly connection: C;
  readonly done: () => void;
}

export class CancelQueue<C extends Cancellable> {
  private readonly send: (connection: C, ended: () => void) => void;
  private underWay = 0;
  private readonly waiting: Waiting<C>[] = [];

  /** `send` calls `ended` once, when the database is done with it or cannot be reached. */
  constructor(send: (connection: C, ended: () => void) => void) {
    this.send = send;
  }

  /** `done` is called when the database has taken note, or cannot be reached. */
  cancel(connection: C, done: () => void): void {
    if (this.waiting.length >= CANCELS_WAITING_MAX) {
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
    // What was running when this was asked may be over by now.
    if (connection.isAtRest) ended();
    else this.send(connection, ended);
  }
}
