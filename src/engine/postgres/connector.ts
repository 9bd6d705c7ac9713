/**
 * Opens database connections for one pool: the login, then the InitQuery, without which nobody gets a
 * connection. One deadline for what comes after the login.
 */

import { BerthError } from '../../base/errors.ts';
import { Timer } from '../../base/timer-wheel.ts';
import type { OpeningHandle } from '../../pool/contract.ts';
import type { Pool } from '../../pool/pool.ts';
import { type OpeningCallbacks, TargetConnector } from '../target-connector.ts';
import { DatabaseConnection } from './database-connection.ts';
import { DatabaseLogin, type LoginIdentity } from './login/database-login.ts';
import { OwnStatement, type Row } from './own-statement.ts';
import { latin1, SessionSettings } from './settings.ts';
import type { TargetContext } from './target-context.ts';

const INIT_QUERY_TIMEOUT_MS = 15_000;

/** What the InitQuery set. `role` is not in the view; neither are custom settings, which cannot be listed. */
const SETTINGS_OF_SESSION = `SELECT pg_catalog.lower(name), setting FROM pg_catalog.pg_settings
  WHERE source OPERATOR(pg_catalog.=) 'session'
  UNION ALL SELECT 'role', pg_catalog.current_setting('role')`;

export class DatabaseConnector extends TargetConnector<DatabaseConnection, TargetContext> {
  private readonly identity: () => LoginIdentity | undefined;

  /** `identity` is asked for each connection, so a changed password is used at once. */
  constructor(
    target: TargetContext,
    pool: Pool<DatabaseConnection>,
    identity: () => LoginIdentity | undefined,
  ) {
    super(target, pool);
    this.identity = identity;
  }

  protected begin(callbacks: OpeningCallbacks<DatabaseConnection>): OpeningHandle {
    return new Opening(this.target, this.pool, this.identity(), callbacks);
  }
}

/** A login and the InitQuery after it. */
class Opening implements OpeningHandle {
  private readonly target: TargetContext;
  private readonly callbacks: OpeningCallbacks<DatabaseConnection>;
  private readonly login: DatabaseLogin;
  private readonly deadline: Timer;
  private connection: DatabaseConnection | undefined = undefined;

  constructor(
    target: TargetContext,
    pool: Pool<DatabaseConnection>,
    identity: LoginIdentity | undefined,
    callbacks: OpeningCallbacks<DatabaseConnection>,
  ) {
    this.target = target;
    this.callbacks = callbacks;
    this.deadline = new Timer(() =>
      this.initFailed(`it took longer than ${INIT_QUERY_TIMEOUT_MS} ms`),
    );
    this.login = new DatabaseLogin(target, identity, {
      failed: callbacks.failed,
      tlsBegan: () => target.counters.databaseConnectionRequestsWithTls++,
      opened: (stream, facts) => {
        const connection = new DatabaseConnection(stream, target, pool, facts);
        if (facts.initQuery === undefined) callbacks.opened(connection);
        else this.runInitQuery(connection, facts.initQuery);
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

  private runInitQuery(connection: DatabaseConnection, initQuery: string): void {
    this.connection = connection;
    this.target.wheel.arm(this.deadline, INIT_QUERY_TIMEOUT_MS);
    this.runInit(connection, initQuery, () => {
      if (connection.isInTransaction) this.initFailed('it left a transaction open');
      else this.runInit(connection, SETTINGS_OF_SESSION, (rows) => this.initialised(rows));
    });
  }

  private runInit(
    connection: DatabaseConnection,
    sql: string,
    done: (rows: readonly Row[]) => void,
  ): void {
    const statement = new OwnStatement((outcome) => {
      if (this.connection === undefined) return;
      if (outcome.isOk) done(outcome.rows);
      else this.initFailed(outcome.fields.get('M') ?? 'the connection was lost');
    });
    connection.run(sql, statement);
  }

  private initialised(rows: readonly Row[]): void {
    const { connection } = this;
    if (connection === undefined) return;
    connection.base = new SessionSettings(
      rows.map(([name = '', value = '']) => [latin1(name), latin1(value)]),
    );
    this.connection = undefined;
    this.target.wheel.disarm(this.deadline);
    this.callbacks.opened(connection);
  }

  private initFailed(why: string): void {
    this.abandon();
    this.callbacks.failed({
      isTemporary: false,
      detail: `the InitQuery failed: ${why}`,
      error: new BerthError('init_query_failed', { detail: `The InitQuery failed: ${why}.` }),
    });
  }
}
