/**
 * The PostgreSQL engine of one proxy: its logins and sessions, its pools on one target, and the
 * virtual cancel keys. The only thing outside this room knows it by is the `Engine` contract.
 */

import { timingSafeEqual } from 'node:crypto';
import type { BerthError } from '../../base/errors.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Credentials, UserCredential } from '../../credential/credentials.ts';
import type { Stream } from '../../net/stream.ts';
import type { EndpointCounters, TargetGauges } from '../../observe/counters.ts';
import type {
  Listing,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../../observe/descriptions.ts';
import type { Observer } from '../../observe/events.ts';
import type { ClientCloseReason } from '../../observe/reasons.ts';
import { ConnectionBudget, type ConnectionLimits } from '../../pool/budget.ts';
import type { Pool } from '../../pool/pool.ts';
import { PoolGroup } from '../../pool/pool-group.ts';
import type { PoolKey } from '../../pool/pool-host.ts';
import type { Observation } from '../../target/monitor.ts';
import { Clients } from '../clients.ts';
import type { DatabaseTls, Engine, EngineOptions, EngineSettings, Stopped } from '../contract.ts';
import { DatabasePasswords } from '../database-passwords.ts';
import { Endpoint, type EndpointEngine } from '../endpoint.ts';
import { EndpointLogin } from '../endpoint-login.ts';
import type { Arrival, Lobby } from '../lobby.ts';
import { TargetPools } from '../target-pools.ts';
import type { LoginFailure } from './auth/client-authenticator.ts';
import { sharedVerifiers } from './auth/scram-verifiers.ts';
import { Canceller } from './cancel.ts';
import { ClientSession } from './client-session.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { ClientLogin } from './login/client-login.ts';
import { DatabaseConnector } from './login/database-login.ts';
import type { LoggedIn, LoggedInForReplication, LoginHost } from './login/login-host.ts';
import { PostgresArrival, Reception } from './login/reception.ts';
import type { ReplicationStartup } from './login/replication-startup.ts';
import { ServerProtocol } from './login/server-protocol.ts';
import type { HubHost, NotificationHub } from './notification/hub.ts';
import { NotificationHubs } from './notification/hubs.ts';
import { probe } from './probe.ts';
import { ReplicationPool } from './replication-pool.ts';
import { ReplicationSession } from './replication-session.ts';
import type { Session } from './session.ts';
import type { SessionSettings } from './settings.ts';
import { StatementRegistry } from './statement/registry.ts';
import type { TargetContext } from './target-context.ts';
import { UserPool } from './user-pool.ts';
import { errorResponse } from './wire/backend.ts';

export class PostgresEngine implements Engine, EndpointEngine<Session> {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  settings: EngineSettings;
  readonly statements = new StatementRegistry();
  private credentials: Credentials;
  private readonly refreshSecret: EngineOptions['refreshSecret'];
  private readonly passwords: DatabasePasswords;
  private readonly target: TargetContext;
  private readonly budget: ConnectionBudget;
  private readonly group: PoolGroup<DatabaseConnection>;
  private readonly endpoints = new Map<string, PostgresEndpoint>();
  readonly hubs: NotificationHubs;
  private readonly userPools = new WeakMap<Pool<DatabaseConnection>, UserPool>();
  /** Goes up when what clients are told at login may have changed. */
  private generation = 0;
  /** By the process id that each was given. */
  private readonly clients = new Clients<ClientLogin, Session>();
  private readonly pools: TargetPools<DatabaseConnection>;

  constructor(options: EngineOptions) {
    this.proxy = options.proxy;
    this.wheel = options.wheel;
    this.observer = options.observer;
    this.settings = options.settings;
    this.credentials = options.credentials;
    this.refreshSecret = options.refreshSecret;
    this.passwords = new DatabasePasswords({
      find: (user) => this.credentials.find(user),
      refresh: options.refreshSecret,
      now: () => performance.now(),
    });
    this.target = this.targetContext(options);
    this.budget = new ConnectionBudget(options.limits);
    this.group = new PoolGroup<DatabaseConnection>({
      target: options.target,
      budget: this.budget,
      wheel: options.wheel,
      settings: options.settings.pool,
      counters: options.targetCounters,
      random: Math.random,
      doubted: options.doubted,
      connectorFor: (key, pool) => this.connectorFor(key, pool),
    });
    this.pools = new TargetPools(this.proxy, this.group);
    this.hubs = new NotificationHubs(this.hubHost());
    this.warmCredentials();
  }

  private hubHost(): HubHost {
    const settings = () => this.settings;
    return {
      target: this.target,
      budget: this.budget,
      get poolSettings() {
        return settings().pool;
      },
      identityOf: (user) => this.passwords.loginOf(user),
    };
  }

  private targetContext(options: EngineOptions): TargetContext {
    const { proxy, target, address, wheel, observer, targetCounters: counters } = options;
    const current = () => this.settings.databaseTls;
    const place = {
      address,
      wheel,
      get databaseTls() {
        return current();
      },
    };
    return {
      proxy,
      target,
      address,
      wheel,
      observer,
      counters,
      schema: { generation: 0 },
      protocol: new ServerProtocol(),
      canceller: new Canceller(place),
      get databaseTls() {
        return current();
      },
    };
  }

  accept(stream: Stream, name: string, counters: EndpointCounters, arrival?: Arrival): void {
    let endpoint = this.endpoints.get(name);
    if (endpoint === undefined) {
      endpoint = new PostgresEndpoint(this, name, counters);
      this.endpoints.set(name, endpoint);
    }
    endpoint.accept(stream, arrival);
  }

  receive(stream: Stream, lobby: Lobby): void {
    new Reception(stream, lobby);
  }

  hasSession(processId: number): boolean {
    return this.clients.session(processId) !== undefined;
  }

  configure(settings: EngineSettings, credentials: Credentials): void {
    const before = { settings: this.settings, credentials: this.credentials };
    this.settings = settings;
    this.credentials = credentials;
    this.group.configure(settings.pool);
    this.warmCredentials();
    const isInitChanged = before.settings.initQuery !== settings.initQuery;
    // A changed password is for the next login; open connections stay.
    if (isInitChanged) this.generation++;
    // What is open was opened as the configuration said then, and goes when its borrower is done.
    const isTlsChanged = !isSameTls(before.settings.databaseTls, settings.databaseTls);
    this.group.configurationChanged(
      (key) => isInitChanged || isTlsChanged || credentials.find(key.user) === undefined,
    );
    this.passwords.prune();
    const old = before.credentials;
    this.group.mended(({ user }) => old.find(user)?.version !== credentials.find(user)?.version);
    this.hubs.renew((user) => isTlsChanged || credentials.find(user) === undefined);
  }

  /** So that the first login of a user takes no longer than that of one who does not exist. */
  private warmCredentials(): void {
    sharedVerifiers.warm(this.credentials).catch((error: unknown) => {
      this.observer.emit({ event: 'internal.failed', doing: 'derive SCRAM keys', error });
    });
  }

  limit(limits: ConnectionLimits): void {
    this.budget.configure(limits);
  }

  gauges(isAvailable: boolean): TargetGauges {
    return {
      ...this.group.gauges(isAvailable),
      listeningConnections: this.hubs.connections,
      subscriptions: this.hubs.subscriptions,
    };
  }

  describeSessions(query: SessionQuery): Listing<SessionDescription> {
    return this.clients.describe(query);
  }

  describePools(): readonly PoolDescription[] {
    return this.pools.describe();
  }

  get clientCount(): number {
    return this.clients.count;
  }

  async probe(): Promise<Observation | undefined> {
    const [credential] = this.credentials;
    const login = credential && this.passwords.loginOf(credential.user);
    if (login === undefined) {
      const detail =
        this.credentials.problems[0]?.text ?? 'Proxy does not have any registered credentials';
      return { isOk: false, reason: 'AUTH_FAILURE', detail };
    }
    const seen = await this.pools.probe(() => probe(this.target, login));
    // Nothing is wrong with the target while its password is being changed.
    const isRefused = seen?.isOk === false && seen.reason === 'AUTH_FAILURE';
    return isRefused && this.passwords.isChanging(login.user) ? undefined : seen;
  }

  drain(): Promise<void> {
    return this.clients.drain();
  }

  stop(): Stopped {
    const clientsCut = this.clients.stop();
    const closed = Promise.all([this.group.close(), this.hubs.stop()]).then(() => {});
    return { clientsCut, closed };
  }

  private connectorFor(key: PoolKey, pool: Pool<DatabaseConnection>): DatabaseConnector {
    return new DatabaseConnector(this.target, pool, () => {
      const login = this.passwords.loginOf(key.user);
      const { initQuery } = this.settings;
      return login && { ...login, database: key.database, initQuery };
    });
  }

  // --- What endpoints ask

  credentialFor(user: string): {
    credential: UserCredential | undefined;
    method: UserCredential['clientPasswordAuthType'];
  } {
    const credential = this.credentials.find(user);
    return { credential, method: this.credentials.authTypeFor(user) };
  }

  /** A client may know a newer one than the proxy does; his next attempt is compared with it. */
  passwordWasWrong(user: string): void {
    void this.refreshSecret(user);
  }

  joinPool(user: string, database: string): UserPool {
    const pool = this.group.join({ user, database });
    let userPool = this.userPools.get(pool);
    if (userPool === undefined) {
      userPool = new UserPool(pool);
      this.userPools.set(pool, userPool);
    }
    userPool.useGeneration(this.generation);
    return userPool;
  }

  leavePool(userPool: UserPool): void {
    this.group.leave(userPool.pool);
  }

  /** For one client. It gets a connection of its own there, opened with its start-up parameters. */
  replicationPool(user: string, database: string, startup: ReplicationStartup): ReplicationPool {
    return new ReplicationPool(this.group, this.target, { user, database }, () => {
      const login = this.passwords.loginOf(user);
      return login && { ...login, database, initQuery: undefined, startup: startup.parameters };
    });
  }

  clientCame(stream: Stream, name: string, arrival: Arrival | undefined): void {
    const endpoint = this.endpoints.get(name);
    if (endpoint === undefined) return;
    const { login } = new PostgresEndpointLogin(endpoint, this, stream);
    this.clients.loginBegan(login);
    if (arrival instanceof PostgresArrival) login.arrive(arrival);
  }

  refusal(error: BerthError): Uint8Array {
    return errorResponse('FATAL', error);
  }

  loginEnded(login: ClientLogin): void {
    this.clients.loginEnded(login);
  }

  sessionBegan(session: Session): void {
    this.clients.sessionBegan(session.processId, session);
  }

  sessionEnded(session: Session): void {
    if (session.userPool !== undefined) this.leavePool(session.userPool);
    this.clients.sessionEnded(session.processId);
  }

  /** A wrong key is ignored, as a server does. */
  cancel(processId: number, key: string, done: () => void): void {
    const session = this.clients.session(processId);
    if (session === undefined || !isSameKey(session.cancelKey, key)) done();
    else session.cancel(done);
  }
}

function isSameTls(a: DatabaseTls, b: DatabaseTls): boolean {
  return a.connect === b.connect && a.isRequired === b.isRequired;
}

function isSameKey(a: string, b: string): boolean {
  const left = Buffer.from(a, 'latin1');
  const right = Buffer.from(b, 'latin1');
  return left.length === right.length && timingSafeEqual(left, right);
}

/** One endpoint, with what only PostgreSQL's clients need. */
class PostgresEndpoint extends Endpoint<Session> implements EndpointContext {
  private readonly hubs: NotificationHubs;

  constructor(engine: PostgresEngine, name: string, counters: EndpointCounters) {
    super(engine, name, counters);
    this.hubs = engine.hubs;
  }

  hubFor(database: string): NotificationHub {
    return this.hubs.hubFor(database);
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

  authenticationFailed(user: string, why: LoginFailure): void {
    this.told.authenticationFailed(user, why, 'PostgreSQL');
    if (why === 'wrong_password') this.engine.passwordWasWrong(user);
  }

  poolFor(user: string, database: string): UserPool {
    return this.engine.joinPool(user, database);
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
    this.engine.loginEnded(this.login);
  }

  replicationPool(user: string, database: string, startup: ReplicationStartup): ReplicationPool {
    return this.engine.replicationPool(user, database, startup);
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
    this.engine.loginEnded(this.login);
  }
}
