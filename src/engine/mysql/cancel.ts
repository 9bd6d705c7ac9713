/**
 * Ends what a database connection runs, with KILL QUERY on another connection of the same user: everybody may
 * kill what is theirs. The server has marked the statement by the time it answers, and a connection where
 * nothing runs by then ignores the mark. When it never answers, the mark may still come at any time, so
 * what it is meant for must not serve anybody else.
 * https://dev.mysql.com/doc/refman/en/kill.html
 *
 * The database must not see more connections than were allowed, so a KILL takes one of the pool, before
 * everybody else who waits for one. But what keeps them all busy may be what is to be killed; so after
 * `POOL_WAIT_MS` it goes out on a connection beside the pool's, one at a time for each target.
 */

import { Timer } from '../../base/timer-wheel.ts';
import type { Stream } from '../../net/stream.ts';
import type { Borrower, Waiter } from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import { type Cancellable, CancelQueue } from '../cancel-queue.ts';
import type { DatabaseConnection } from './database-connection.ts';
import { afterServerForgets } from './forgetting.ts';
import { DatabaseLogin, type LoginIdentity, type LoginTarget } from './login/database-login.ts';
import { giveBack, OwnHolder } from './own-holder.ts';
import { OwnStatement } from './own-statement.ts';
import { askOnce } from './question.ts';

/** For a connection of the pool. */
const POOL_WAIT_MS = 100;
/** For the answer to a KILL that goes out beside the pool. */
const ANSWER_TIMEOUT_MS = 10_000;
/** Above all that can be configured. */
const PRIORITY = Number.MAX_SAFE_INTEGER;

/** What KILL can be meant for. */
export interface Killable extends Cancellable {
  /** The database's number for it. */
  readonly threadId: number;
  readonly pool: Pool<DatabaseConnection>;
}

export class Canceller {
  private readonly target: LoginTarget;
  private readonly identityOf: (user: string) => LoginIdentity | undefined;
  private readonly queue = new CancelQueue<Killable>((victim, ended) => this.send(victim, ended));
  /** Those that have not been sent. */
  private readonly unsent = new Set<Kill>();
  /** Of them, those that would go out beside the pool. */
  private readonly waiting: Kill[] = [];
  private isBeside = false;

  constructor(target: LoginTarget, identityOf: (user: string) => LoginIdentity | undefined) {
    this.target = target;
    this.identityOf = identityOf;
  }

  /**
   * Asks the database to end what `victim` runs. `done` is called when the database has taken note, or
   * cannot be reached, or the user's password is not there any more.
   */
  cancel(victim: Killable, done: () => void = () => {}): void {
    this.queue.cancel(victim, done);
  }

  /** Nothing runs on `victim` any more, so what was not sent yet need not be. */
  withdraw(victim: Killable): void {
    for (const kill of this.unsent) {
      if (kill.victim === victim) kill.end();
    }
  }

  private send(victim: Killable, ended: () => void): void {
    const kill = new Kill(victim, this.target, {
      sent: () => this.unsent.delete(kill),
      ended: () => {
        this.unsent.delete(kill);
        ended();
      },
      beside: () => {
        this.waiting.push(kill);
        this.next();
      },
    });
    this.unsent.add(kill);
    kill.begin();
  }

  private next(): void {
    if (this.isBeside) return;
    const kill = this.waiting.shift();
    if (kill === undefined) return;
    if (kill.isOver) {
      this.next();
      return;
    }
    const { target } = this;
    const { user } = kill.victim.pool.key;
    this.isBeside = true;
    const gone = () => {
      this.isBeside = false;
      this.next();
    };
    new DatabaseLogin(target, this.identityOf(user), {
      failed: () => {
        kill.failedBeside();
        gone();
      },
      opened: (stream, { capabilities }) => {
        kill.sendBeside(stream, capabilities, () => afterServerForgets(gone));
      },
    });
  }
}

interface KillCallbacks {
  sent(): void;
  /** Called once, in the end. */
  ended(): void;
  /** The pool has no connection for it. */
  beside(): void;
}

class Kill extends OwnHolder implements Borrower<DatabaseConnection> {
  readonly victim: Killable;
  isOver = false;
  private readonly target: LoginTarget;
  private readonly callbacks: KillCallbacks;
  private readonly timer = new Timer(() => this.timedOut());
  private waiter: Waiter | undefined = undefined;
  private isSent = false;
  private isBeside = false;
  private hasFailedBeside = false;

  constructor(victim: Killable, target: LoginTarget, callbacks: KillCallbacks) {
    super();
    this.victim = victim;
    this.target = target;
    this.callbacks = callbacks;
  }

  begin(): void {
    const { pool } = this.victim;
    const connection = pool.borrow();
    if (connection !== undefined) {
      this.granted(connection);
      return;
    }
    this.waiter = pool.wait(this, PRIORITY);
    // There is none but the one that is meant.
    if (pool.size <= 1) this.goBeside();
    else this.target.wheel.arm(this.timer, POOL_WAIT_MS);
  }

  granted(connection: DatabaseConnection): void {
    this.waiter = undefined;
    connection.lentTo(this);
    if (this.victim.isAtRest) {
      giveBack(connection);
      this.end();
      return;
    }
    const text = this.takeText();
    this.target.wheel.arm(this.timer, ANSWER_TIMEOUT_MS);
    const statement = new OwnStatement((outcome) => {
      // Without a word of the database the connection is gone.
      if (outcome.isOk || outcome.payload !== undefined) giveBack(connection);
      else this.lost();
      this.end();
    });
    connection.run(text, statement);
  }

  refused(): void {
    this.waiter = undefined;
    if (this.hasFailedBeside) this.end();
    else this.goBeside();
  }

  private timedOut(): void {
    if (!this.isSent) {
      this.goBeside();
      return;
    }
    this.lost();
    this.end();
  }

  private goBeside(): void {
    if (this.isBeside) return;
    this.isBeside = true;
    this.target.wheel.disarm(this.timer);
    this.callbacks.beside();
  }

  /** There may still come one of the pool. */
  failedBeside(): void {
    this.hasFailedBeside = true;
    if (this.waiter === undefined && !this.isSent) this.end();
  }

  /** `gone` is called when the connection is closed. */
  sendBeside(stream: Stream, capabilities: number, gone: () => void): void {
    const { wheel } = this.target;
    const isWanted = !this.isOver && !this.isSent && !this.victim.isAtRest;
    const sql = isWanted ? this.takeText() : 'DO 0';
    const question = { stream, capabilities, wheel, sql, timeoutMs: ANSWER_TIMEOUT_MS };
    askOnce(question, (answer) => {
      if (isWanted) {
        if (!answer.isOk && answer.said === undefined) this.lost();
        this.end();
      }
      gone();
    });
    if (!isWanted && !this.isSent) this.end();
  }

  /** What goes out now, once. */
  private takeText(): string {
    this.isSent = true;
    this.waiter?.abandon();
    this.waiter = undefined;
    this.callbacks.sent();
    // KILL without QUERY closes the socket first, and ends the statement then.
    return `KILL QUERY ${this.victim.threadId}`;
  }

  /** Sent, and nobody knows whether it arrived. */
  private lost(): void {
    this.victim.unfitBy = 'reset_failed';
  }

  end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.target.wheel.disarm(this.timer);
    this.waiter?.abandon();
    this.waiter = undefined;
    this.callbacks.ended();
  }
}
