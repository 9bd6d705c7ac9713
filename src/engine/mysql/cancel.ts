/**
 * Ends what a database connection runs, with KILL QUERY on a connection of its own, which is logged in as
 * the same user: everybody may kill what is theirs. The server has marked the statement by the time it
 * answers, and a connection where nothing runs by then ignores the mark. When it never answers, the mark
 * may still come at any time, so what it is meant for must not serve anybody else.
 * https://dev.mysql.com/doc/refman/en/kill.html
 */

import type { Secret } from '../../credential/secret.ts';
import { type Cancellable, CancelQueue } from '../cancel-queue.ts';
import { DatabaseLogin, type LoginTarget } from './login/database-login.ts';
import { Question } from './question.ts';

/** For the answer to KILL. */
const ANSWER_TIMEOUT_MS = 10_000;

/** What KILL can be meant for. */
export interface Killable extends Cancellable {
  /** The database's number for it. */
  readonly threadId: number;
  readonly pool: { readonly key: { readonly user: string } };
}

export class Canceller {
  private readonly target: LoginTarget;
  private readonly passwordOf: (user: string) => Secret | undefined;
  private readonly queue = new CancelQueue<Killable>((connection, ended) =>
    this.send(connection, ended),
  );

  constructor(target: LoginTarget, passwordOf: (user: string) => Secret | undefined) {
    this.target = target;
    this.passwordOf = passwordOf;
  }

  /**
   * Asks the database to end what `connection` runs. `done` is called when the database has taken note,
   * or cannot be reached, or the user's password is not there any more.
   */
  cancel(connection: Killable, done: () => void = () => {}): void {
    this.queue.cancel(connection, done);
  }

  private send(connection: Killable, ended: () => void): void {
    const { target } = this;
    const { wheel } = target;
    const { user } = connection.pool.key;
    const password = this.passwordOf(user);
    const sql = `KILL QUERY ${connection.threadId}`;
    const identity = password === undefined ? undefined : { user, password };
    new DatabaseLogin(target, identity, {
      failed: ended,
      opened: (stream, { capabilities }) => {
        const question = { stream, capabilities, wheel, sql, timeoutMs: ANSWER_TIMEOUT_MS };
        new Question(question, (answer) => {
          // Sent, and nobody knows whether it arrived.
          if (!answer.isOk && answer.said === undefined) connection.unfitBy = 'reset_failed';
          ended();
        });
      },
    });
  }
}
