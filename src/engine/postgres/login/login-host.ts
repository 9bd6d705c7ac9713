/** What a client's login needs from the engine that it logs in to. */

import type { BerthError } from '../../../base/errors.ts';
import type { UserCredential } from '../../../credential/credentials.ts';
import type { IamFailure } from '../../../credential/token-judge.ts';
import type { Stream } from '../../../net/stream.ts';
import type { ClientCloseReason } from '../../../observe/reasons.ts';
import type { EngineSettings } from '../../contract.ts';
import type { LoginFailure } from '../auth/client-authenticator.ts';
import type { ClientSession } from '../client-session.ts';
import type { EndpointContext } from '../endpoint-context.ts';
import type { ReportedParameters } from '../parameters.ts';
import type { ReplicationConnection } from '../replication-connection.ts';
import type { ReplicationPool } from '../replication-pool.ts';
import type { ReplicationSession } from '../replication-session.ts';
import type { SessionSettings } from '../settings.ts';
import type { UserPool } from '../user-pool.ts';
import type { ReplicationStartup } from './replication-startup.ts';

export interface LoggedIn {
  readonly stream: Stream;
  readonly userPool: UserPool;
  readonly user: string;
  readonly database: string;
  readonly settings: SessionSettings;
  readonly parameters: ReportedParameters;
  readonly cancelKey: string;
}

export interface LoggedInForReplication {
  readonly stream: Stream;
  readonly pool: ReplicationPool;
  readonly connection: ReplicationConnection;
  readonly startup: ReplicationStartup;
  readonly user: string;
  readonly database: string;
  readonly cancelKey: string;
}

export interface LoginHost {
  readonly endpoint: EndpointContext;
  /** The client and the proxy speak TLS from here on. */
  encrypted(): void;
  tlsFailed(detail: string): void;
  /** Throws `too_many_client_connections`. */
  admit(): void;
  /** The credential of `user`, if there is one, and how users of the proxy are asked for passwords. */
  credentialFor(user: string): {
    readonly credential: UserCredential | undefined;
    readonly method: UserCredential['clientPasswordAuthType'];
    /** Clients of the user give IAM tokens, whatever the method. */
    readonly isIam: boolean;
  };
  /** What is wrong with an IAM token of `user`. */
  checkToken(user: string, token: string): IamFailure | undefined;
  authenticationFailed(user: string, why: LoginFailure): void;
  /** The pool is kept until `poolLeft`, or until the session that `loggedIn` makes has ended. */
  poolFor(user: string, database: string): UserPool;
  poolLeft(pool: UserPool): void;
  /** A pool for this client alone. It is for the login to leave, until `replicating` has made a session. */
  replicationPool(user: string, database: string, startup: ReplicationStartup): ReplicationPool;
  /** The welcome needed a connection and there was none. */
  borrowFailed(error: BerthError, waitedMs: number): void;
  priorityOf(settings: EngineSettings, user: string, session: SessionSettings): number;
  loggedIn(login: LoggedIn): ClientSession;
  replicating(login: LoggedInForReplication): ReplicationSession;
  /** Passes a cancel on; `done` is called in any case. */
  cancel(processId: number, key: string, done: () => void): void;
  /** The login ended without a session. */
  loginEnded(reason: ClientCloseReason): void;
}
