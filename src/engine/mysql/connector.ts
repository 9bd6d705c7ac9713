/**
 * Opens database connections for one pool: the log-in, then the trackers and the InitQuery, without which
 * nobody gets a connection. One deadline for what comes after the log-in.
 */

import { BerthError } from '../../base/errors.ts';
import { Timer } from '../../base/timer-wheel.ts';
import type { OpeningHandle } from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import { type OpeningCallbacks, TargetConnector } from '../target-connector.ts';
import { DatabaseConnection } from './database-connection.ts';
import { DatabaseLogin, type LoginIdentity } from './login/database-login.ts';
import type { Outcome } from './own-statement.ts';
import type { TargetContext } from './target-context.ts';

/** A statement that takes longer is not for the beginning of each connection. */
const SET_UP_TIMEOUT_MS = 10_000;

/** As whom connections are opened, and what is run on each of them. */
export interface PoolIdentity {
  /** Absent when the user is not known any more. */
  readonly login: LoginIdentity | undefined;
  readonly initQuery: string | undefined;
}

export class DatabaseConnector extends TargetConnector<DatabaseConnection, TargetContext> {
  private readonly identity: () => PoolIdentity;

  /** `identity` is asked for each connection, so a changed password is used at once. */
  constructor(target: TargetContext, pool: Pool<DatabaseConnection>, identity: () => PoolIdentity) {
    super(target, pool);
    this.identity = identity;
  }

  protected begin(callbacks: OpeningCallbacks<DatabaseConnection>): OpeningHandle {
    return new Opening(this.target, this.pool, this.identity(), callbacks);
  }
}

class Opening implements OpeningHandle {
  private readonly target: TargetContext;
  private readonly callbacks: OpeningCallbacks<DatabaseConnection>;
  private readonly login: DatabaseLogin;
  private readonly deadline: Timer;
  private connection: DatabaseConnection | undefined = undefined;

  constructor(
    target: TargetContext,
    pool: Pool<DatabaseConnection>,
    { login, initQuery }: PoolIdentity,
    callbacks: OpeningCallbacks<DatabaseConnection>,
  ) {
    this.target = target;
    this.callbacks = callbacks;
    this.deadline = new Timer(() =>
      this.setUpFailed(`it took longer than ${SET_UP_TIMEOUT_MS} ms`, undefined, true),
    );
    this.login = new DatabaseLogin(target, login, {
      failed: (failure) => callbacks.failed(failure),
      tlsBegan: () => target.counters.databaseConnectionRequestsWithTls++,
      opened: (stream, facts) => {
        const connection = new DatabaseConnection(stream, target, pool, { ...facts, initQuery });
        this.connection = connection;
        target.wheel.arm(this.deadline, SET_UP_TIMEOUT_MS);
        connection.setUp((outcome) => this.setUpEnded(connection, outcome));
      },
    });
  }

  abandon(): void {
    this.login.abandon();
    this.target.wheel.disarm(this.deadline);
    const { connection } = this;
    this.connection = undefined;
    connection?.abandon();
  }

  private setUpEnded(connection: DatabaseConnection, outcome: Outcome): void {
    if (this.connection === undefined) return;
    if (!outcome.isOk) {
      const detail = outcome.error?.text ?? 'the database closed the connection';
      // Without a word of the database the connection is gone, and that may pass.
      this.setUpFailed(detail, outcome.payload, outcome.payload === undefined);
    } else if (!connection.isSettled) {
      this.setUpFailed('it left a transaction open or tables locked', undefined, false);
    } else {
      this.connection = undefined;
      this.target.wheel.disarm(this.deadline);
      this.callbacks.opened(connection);
    }
  }

  private setUpFailed(
    detail: string,
    databaseMessage: Uint8Array | undefined,
    isTemporary: boolean,
  ): void {
    this.abandon();
    const options = databaseMessage === undefined ? { detail } : { databaseMessage };
    this.callbacks.failed({
      isTemporary,
      detail: `InitQuery: ${detail}`,
      error: new BerthError('init_query_failed', options),
    });
  }
}
