/** One login on an endpoint, seen from the login; and its way from there to a session. */

import type { BerthError } from '../../base/errors.ts';
import type { UserCredential } from '../../credential/credentials.ts';
import type { IamFailure } from '../../credential/token-judge.ts';
import type { Stream } from '../../net/stream.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import { EndpointLogin } from '../endpoint-login.ts';
import type { ClientPlugin, LoginFailure } from './auth/client-authenticator.ts';
import type { PasswordKey } from './auth/password-key.ts';
import { ClientSession } from './client-session.ts';
import type { MySqlEndpoint, MySqlEngine } from './engine.ts';
import { ClientLogin } from './login/client-login.ts';
import type { ClientIdentity, Guest, LoginHost, Place } from './login/login-host.ts';
import type { Greeted } from './login/reception.ts';
import type { ServerFacts } from './login/server-facts.ts';
import { nextThreadId, type Session } from './session.ts';
import type { InitialState } from './session-state.ts';
import type { UserPool, Welcome } from './user-pool.ts';
import { CLIENT_MULTI_STATEMENTS, has } from './wire/capabilities.ts';

export class MySqlEndpointLogin implements LoginHost {
  readonly endpoint: MySqlEndpoint;
  readonly threadId: number;
  readonly login: ClientLogin;
  private readonly engine: MySqlEngine;
  private readonly told: EndpointLogin<Session>;

  /** `greeted`: with what the client was greeted already. */
  constructor(
    endpoint: MySqlEndpoint,
    engine: MySqlEngine,
    stream: Stream,
    greeted: Greeted | undefined,
  ) {
    this.endpoint = endpoint;
    this.engine = engine;
    this.threadId = greeted?.threadId ?? nextThreadId();
    this.login = new ClientLogin(stream, this, greeted);
    this.told = new EndpointLogin(endpoint, this.login, stream);
  }

  get passwordKey(): PasswordKey {
    return this.engine.passwordKey;
  }

  get serverVersion(): string | undefined {
    return this.engine.settings.serverVersion;
  }

  whenServerKnown(told: (server: ServerFacts) => void): () => void {
    return this.engine.server.whenKnown(told);
  }

  encrypted(): void {
    this.told.encrypted();
  }

  tlsFailed(detail: string): void {
    this.told.tlsFailed(detail);
  }

  admit(): void {
    this.told.admit(this.engine.clientCount);
  }

  credentialFor(user: string): {
    readonly credential: UserCredential | undefined;
    readonly plugin: ClientPlugin;
    readonly isIam: boolean;
  } {
    return this.engine.credentialFor(user);
  }

  checkToken(user: string, token: string): IamFailure | undefined {
    return this.told.checkToken(user, token, this.engine.credentials);
  }

  authenticationFailed(user: string, why: LoginFailure): void {
    this.told.authenticationFailed(user, why, 'MySQL');
    if (why === 'wrong_password') this.engine.passwordWasWrong(user);
  }

  join(client: ClientIdentity, guest: Guest): Place {
    return new SessionPlace(this.engine, this, client, guest);
  }

  borrowFailed(error: BerthError, waitedMs: number): void {
    this.told.borrowFailed(error, waitedMs);
  }

  sessionBegan(session: Session, { user, database = '' }: ClientIdentity): void {
    this.told.succeeded(user, database);
    this.engine.sessionBegan(session);
    this.engine.clients.loginEnded(this.login);
  }

  loginEnded(reason: ClientCloseReason): void {
    this.told.ended(reason);
    this.engine.clients.loginEnded(this.login);
  }
}

/** A client that has proved who it is: the pool that it joins, and what its session begins with. */
class SessionPlace implements Place {
  private readonly engine: MySqlEngine;
  private readonly host: MySqlEndpointLogin;
  private readonly client: ClientIdentity;
  private readonly userPool: UserPool;
  private readonly startedAt = performance.now();
  private state: InitialState | undefined = undefined;
  private hasLeft = false;

  constructor(engine: MySqlEngine, host: MySqlEndpointLogin, client: ClientIdentity, guest: Guest) {
    this.engine = engine;
    this.host = host;
    this.client = client;
    const { capabilities, collation, database: schema = '', user } = client;
    this.userPool = engine.joinPool(host.endpoint.name, user, client, schema !== '');
    const allowsMultiStatements = has(capabilities, CLIENT_MULTI_STATEMENTS);
    const arrival = { collation, schema, allowsMultiStatements };
    this.userPool.welcome(arrival, this.priority, {
      welcomed: (welcome) => this.welcomed(welcome, guest),
    });
  }

  private welcomed(welcome: Welcome, guest: Guest): void {
    if (this.hasLeft) return;
    if (welcome.isOk) {
      this.state = welcome.state;
      guest.welcomed({ status: welcome.state.status });
      return;
    }
    this.host.borrowFailed(welcome.error, performance.now() - this.startedAt);
    guest.refused(welcome.error);
  }

  begin(stream: Stream): ClientSession {
    const { client, host, priority, state, userPool } = this;
    const { capabilities, collation, mariadbCapabilities } = client;
    const { endpoint } = host;
    if (state === undefined) throw new Error('a session begins that was not welcomed');
    const session = new ClientSession({
      id: host.login.id,
      threadId: host.threadId,
      endpoint,
      stream,
      userPool,
      capabilities,
      mariadbCapabilities,
      collation,
      state,
      applicationName: this.applicationName,
      priority,
    });
    host.sessionBegan(session, client);
    return session;
  }

  leave(): void {
    this.hasLeft = true;
    this.engine.leavePool(this.userPool);
  }

  private get applicationName(): string {
    return this.client.attributes.get('program_name') ?? '';
  }

  private get priority(): number {
    const { engine, host, client } = this;
    const { user } = client;
    const { name: endpoint } = host.endpoint;
    const { applicationName } = this;
    return engine.settings.priorityOf({ user, applicationName, endpoint });
  }
}
