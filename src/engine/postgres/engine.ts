/**
 * The PostgreSQL engine of one proxy: its logins and sessions, its pools on its target, and the
 * virtual cancel keys. The only thing outside this room knows it by is the `Engine` contract.
 */

import { timingSafeEqual } from 'node:crypto';
import type { BerthError } from '../../base/errors.ts';
import type { UserCredential } from '../../credential/credentials.ts';
import type { IamFailure } from '../../credential/token-judge.ts';
import type { Stream } from '../../net/stream.ts';
import type { EndpointCounters, TargetGauges } from '../../observe/counters.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import type { Pool } from '../../pool/pool.ts';
import type { PoolKey } from '../../pool/pool-host.ts';
import type { Observation } from '../../target/monitor.ts';
import type { EngineOptions, EngineSettings, Stopped } from '../contract.ts';
import type { DatabaseUser } from '../database-passwords.ts';
import { Endpoint } from '../endpoint.ts';
import { EndpointLogin } from '../endpoint-login.ts';
import type { Arrival, Lobby } from '../lobby.ts';
import { TargetEngine } from '../target-engine.ts';
import type { TargetMember } from '../target-member.ts';
import type { PlaceOptions } from '../target-place.ts';
import type { WatchCallbacks } from '../target-watch.ts';
import type { LoginFailure } from './auth/client-authenticator.ts';
import { sharedVerifiers } from './auth/scram-verifiers.ts';
import { ClientSession } from './client-session.ts';
import { DatabaseConnector } from './connector.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { ClientLogin } from './login/client-login.ts';
import type { LoggedIn, LoggedInForReplication, LoginHost } from './login/login-host.ts';
import { PostgresArrival, Reception } from './login/reception.ts';
import type { ReplicationStartup } from './login/replication-startup.ts';
import type { HubHost, NotificationHub } from './notification/hub.ts';
import { NotificationHubs } from './notification/hubs.ts';
import { probe, watch } from './probe.ts';
import { ReplicationPool } from './replication-pool.ts';
import { ReplicationSession } from './replication-session.ts';
import type { Session } from './session.ts';
import type { SessionSettings } from './settings.ts';
import { StatementRegistry } from './statement/registry.ts';
import { PostgresTarget, type TargetContext } from './target-context.ts';
import { UserPool } from './user-pool.ts';
import { errorResponse } from './wire/backend.ts';

export class PostgresEngine extends TargetEngine<
  DatabaseConnection,
  UserPool,
  ClientLogin,
  Session,
  TargetContext
> {
  readonly statements = new StatementRegistry();
  readonly hubs: NotificationHubs;

  constructor(options: EngineOptions) {
    super(options);
    this.hubs = new NotificationHubs(this.hubHost());
    this.warmCredentials();
  }

  private hubHost(): HubHost {
    const settings = () => this.settings;
    const writer = () => this.writer;
    const { proxy, wheel, observer } = this;
    return {
      proxy,
      wheel,
      observer,
      get place() {
        const member = writer();
        return member && { target: member.context, budget: member.budget };
      },
      get poolSettings() {
        return settings().pool;
      },
      identityOf: (user) => this.passwords.loginOf(user),
    };
  }

  protected newEndpoint(name: string, counters: EndpointCounters): PostgresEndpoint {
    return new PostgresEndpoint(this, name, counters);
  }

  receive(stream: Stream, lobby: Lobby): void {
    new Reception(stream, lobby);
  }

  protected newUserPool(pool: Pool<DatabaseConnection>): UserPool {
    return new UserPool(pool);
  }

  newContext(place: PlaceOptions): TargetContext {
    return new PostgresTarget(place);
  }

  protected lookAs(login: DatabaseUser, context: TargetContext): Promise<Observation> {
    return probe(context, login);
  }

  openWatch(login: DatabaseUser, context: TargetContext, callbacks: WatchCallbacks) {
    return watch(context, login, callbacks);
  }

  protected override writerChanged(): void {
    this.hubs.move();
  }

  override resecured(member: TargetMember<DatabaseConnection, TargetContext>): void {
    if (member === this.writer) this.hubs.renew(() => true);
  }

  refusal(error: BerthError): Uint8Array {
    return errorResponse('FATAL', error);
  }

  protected numberOf(session: Session): number {
    return session.processId;
  }

  protected override configured(isGone: (user: string) => boolean): void {
    this.warmCredentials();
    this.hubs.renew(isGone);
  }

  /** So that the first login of a user takes no longer than that of one who does not exist. */
  private warmCredentials(): void {
    sharedVerifiers.warm(this.credentials).catch((error: unknown) => {
      this.observer.emit({ event: 'internal.failed', doing: 'derive SCRAM keys', error });
    });
  }

  override gauges(
    member: TargetMember<DatabaseConnection, TargetContext>,
    isAvailable: boolean,
  ): TargetGauges {
    const gauges = super.gauges(member, isAvailable);
    if (member !== this.writer) return gauges;
    return {
      ...gauges,
      listeningConnections: this.hubs.connections,
      subscriptions: this.hubs.subscriptions,
    };
  }

  protected override poolsEmptied(): void {
    this.hubs.hold();
  }

  override hold(held: () => void): void {
    this.hubs.stopWaiting();
    super.hold(held);
  }

  /** Who listens hears again before anybody says anything. */
  override letGo(): void {
    for (const { protocol } of this.contexts) protocol.forget();
    this.hubs.letGo(() => super.letGo());
  }

  override stop(): Stopped {
    const { clientsCut, closed } = super.stop();
    return { clientsCut, closed: Promise.all([closed, this.hubs.stop()]).then(() => {}) };
  }

  connectorFor(
    context: TargetContext,
    key: PoolKey,
    pool: Pool<DatabaseConnection>,
  ): DatabaseConnector {
    return new DatabaseConnector(context, pool, () => {
      const login = this.passwords.loginOf(key.user);
      const { initQuery } = this.settings;
      return login && { ...login, database: key.database, initQuery };
    });
  }

  // --- What endpoints ask

  credentialFor(user: string): {
    credential: UserCredential | undefined;
    method: UserCredential['clientPasswordAuthType'];
    isIam: boolean;
  } {
    const { credentials } = this;
    const credential = credentials.find(user);
    return {
      credential,
      method: credentials.authTypeFor(user),
      isIam: credentials.isIam(user),
    };
  }

  joinPool(endpoint: string, user: string, database: string): UserPool {
    return this.join(endpoint, { user, database });
  }

  /** For one client. It gets a connection of its own there, opened with its start-up parameters. */
  replicationPool(
    endpoint: string,
    user: string,
    database: string,
    startup: ReplicationStartup,
  ): ReplicationPool {
    const { group, context } = this.placeAt(endpoint);
    return new ReplicationPool(group, context, { user, database }, () => {
      const login = this.passwords.loginOf(user);
      return login && { ...login, database, initQuery: undefined, startup: startup.parameters };
    });
  }

  /** A wrong key is ignored, as a server does. */
  cancel(processId: number, key: string, done: () => void): void {
    const session = this.clients.session(processId);
    if (session === undefined || !isSameKey(session.cancelKey, key)) done();
    else session.cancel(done);
  }
}

function isSameKey(a: string, b: string): boolean {
  const left = Buffer.from(a, 'latin1');
  const right = Buffer.from(b, 'latin1');
  return left.length === right.length && timingSafeEqual(left, right);
}

/** One endpoint, with what only PostgreSQL's clients need. */
class PostgresEndpoint extends Endpoint<Session> implements EndpointContext {
  private readonly owner: PostgresEngine;

  constructor(engine: PostgresEngine, name: string, counters: EndpointCounters) {
    super(engine, name, counters);
    this.owner = engine;
  }

  protected clientCame(stream: Stream, arrival: Arrival | undefined): void {
    const { login } = new PostgresEndpointLogin(this, this.owner, stream);
    this.owner.clients.loginBegan(login);
    if (arrival instanceof PostgresArrival) login.arrive(arrival);
  }

  hubFor(database: string): NotificationHub {
    return this.owner.hubs.hubFor(database);
  }
}

/** One login on an endpoint, seen from the login. */
class PostgresEndpointLogin implements LoginHost {
  readonly endpoint: PostgresEndpoint;
  readonly login: ClientLogin;
  private readonly engine: PostgresEngine;
  private readonly told: EndpointLogin<Session>;

  constructor(endpoint: PostgresEndpoint, engine: PostgresEngine, stream: Stream) {
    this.endpoint = endpoint;
    this.engine = engine;
    this.login = new ClientLogin(stream, this);
    this.told = new EndpointLogin(endpoint, this.login, stream);
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

  credentialFor(user: string) {
    return this.engine.credentialFor(user);
  }

  checkToken(user: string, token: string): IamFailure | undefined {
    return this.told.checkToken(user, token, this.engine.credentials);
  }

  authenticationFailed(user: string, why: LoginFailure): void {
    this.told.authenticationFailed(user, why, 'PostgreSQL');
    if (why === 'wrong_password') this.engine.passwordWasWrong(user);
  }

  poolFor(user: string, database: string): UserPool {
    return this.engine.joinPool(this.endpoint.name, user, database);
  }

  poolLeft(pool: UserPool): void {
    this.engine.leavePool(pool);
  }

  borrowFailed(error: BerthError, waitedMs: number): void {
    this.told.borrowFailed(error, waitedMs);
  }

  priorityOf(settings: EngineSettings, user: string, session: SessionSettings): number {
    const applicationName = session.get('application_name') ?? '';
    return settings.priorityOf({ user, applicationName, endpoint: this.endpoint.name });
  }

  loggedIn({ user, database, ...options }: LoggedIn): ClientSession {
    const { endpoint, engine, login } = this;
    const priority = this.priorityOf(engine.settings, user, options.settings);
    const { statements } = engine;
    const session = new ClientSession({ ...options, id: login.id, endpoint, priority, statements });
    this.sessionBegan(session, user, database);
    return session;
  }

  private sessionBegan(session: Session, user: string, database: string): void {
    this.told.succeeded(user, database);
    this.engine.sessionBegan(session);
    this.engine.clients.loginEnded(this.login);
  }

  replicationPool(user: string, database: string, startup: ReplicationStartup): ReplicationPool {
    return this.engine.replicationPool(this.endpoint.name, user, database, startup);
  }

  replicating(options: LoggedInForReplication): ReplicationSession {
    const { endpoint, login } = this;
    const { startup, user, database, connection } = options;
    const { applicationName } = startup;
    const session = new ReplicationSession({ ...options, id: login.id, endpoint, applicationName });
    this.sessionBegan(session, user, database);
    endpoint.observer.emit({
      ...endpoint.scope(login.id),
      event: 'replication.started',
      databaseConnection: connection.id,
      kind: startup.kind,
    });
    return session;
  }

  cancel(processId: number, key: string, done: () => void): void {
    this.engine.cancel(processId, key, done);
  }

  loginEnded(reason: ClientCloseReason): void {
    this.told.ended(reason);
    this.engine.clients.loginEnded(this.login);
  }
}
