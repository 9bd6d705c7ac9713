/**
 * The PostgreSQL engine of one proxy: its logins and sessions, its pools on one target, and the
 * virtual cancel keys. The only thing outside this room knows it by is the `Engine` contract.
 */

import { timingSafeEqual } from 'node:crypto';
import { BerthError } from '../../base/errors.ts';
import { nextClientConnectionId } from '../../base/ids.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import type { Credentials, UserCredential } from '../../credential/credentials.ts';
import { OPEN_SOCKETS } from '../../net/open-sockets.ts';
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
import type { DatabaseTls, Engine, EngineOptions, EngineSettings, Stopped } from '../contract.ts';
import type { LoginFailure } from './auth/client-authenticator.ts';
import { sharedVerifiers } from './auth/scram-verifiers.ts';
import { Canceller } from './cancel.ts';
import { ClientSession } from './client-session.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { ClientLogin } from './login/client-login.ts';
import { DatabaseConnector } from './login/database-login.ts';
import type { LoggedIn, LoggedInForReplication, LoginHost } from './login/login-host.ts';
import type { ReplicationStartup } from './login/replication-startup.ts';
import { ServerProtocol } from './login/server-protocol.ts';
import type { HubHost, NotificationHub } from './notification/hub.ts';
import { NotificationHubs } from './notification/hubs.ts';
import { StatementRegistry } from './prepared-statements.ts';
import { probe } from './probe.ts';
import { ReplicationPool } from './replication-pool.ts';
import { ReplicationSession } from './replication-session.ts';
import type { Session } from './session.ts';
import type { SessionSettings } from './settings.ts';
import type { TargetContext } from './target-context.ts';
import { UserPool } from './user-pool.ts';
import { errorResponse } from './wire/backend.ts';

/** How long a client that cannot be served may take to read why. */
const REFUSED_LINGER_MS = 1_000;

export class PostgresEngine implements Engine {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  settings: EngineSettings;
  readonly statements = new StatementRegistry();
  private credentials: Credentials;
  private readonly target: TargetContext;
  private readonly budget: ConnectionBudget;
  private readonly group: PoolGroup<DatabaseConnection>;
  private readonly endpoints = new Map<string, PostgresEndpoint>();
  readonly hubs: NotificationHubs;
  private readonly userPools = new WeakMap<Pool<DatabaseConnection>, UserPool>();
  private answersAtProbe = 0;
  /** Goes up when what clients are told at login may have changed. */
  private generation = 0;
  /** By the process id that the client was given. */
  private readonly sessions = new Map<number, Session>();
  private readonly logins = new Set<ClientLogin>();
  private drained: (() => void) | undefined = undefined;

  constructor(options: EngineOptions) {
    this.proxy = options.proxy;
    this.wheel = options.wheel;
    this.observer = options.observer;
    this.settings = options.settings;
    this.credentials = options.credentials;
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
      identityOf: (user) => this.credentials.find(user),
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

  accept(stream: Stream, name: string, counters: EndpointCounters): void {
    let endpoint = this.endpoints.get(name);
    if (endpoint === undefined) {
      endpoint = new PostgresEndpoint(this, name, counters);
      this.endpoints.set(name, endpoint);
    }
    endpoint.accept(stream);
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

  describeSessions({ isPinnedOnly, limit }: SessionQuery): Listing<SessionDescription> {
    const items: SessionDescription[] = [];
    let total = 0;
    for (const session of this.sessions.values()) {
      if (isPinnedOnly && !session.isPinned) continue;
      total++;
      if (items.length < limit) items.push(session.describe());
    }
    return { items, total };
  }

  describePools(): readonly PoolDescription[] {
    const now = Date.now();
    const { limits, inUse } = this.budget;
    const targetLimits = { ...limits, inUse };
    return Array.from(this.group.all, ({ key, users, stats, oldestWaitSince }) => {
      const { waiting, ...connections } = stats;
      return {
        proxy: this.proxy,
        target: this.target.target,
        user: key.user,
        database: key.database,
        clients: users,
        connections,
        waiting,
        waitingSince: waiting === 0 ? undefined : now - (this.wheel.now - oldestWaitSince),
        targetLimits,
      };
    });
  }

  get clientCount(): number {
    return this.sessions.size + this.logins.size;
  }

  async probe(): Promise<Observation | undefined> {
    const [credential] = this.credentials;
    if (credential === undefined) {
      const detail = 'Proxy does not have any registered credentials';
      return { isOk: false, reason: 'AUTH_FAILURE', detail };
    }
    // What this process lacks says nothing of the target.
    if (!OPEN_SOCKETS.mayConnect) return undefined;
    const answersBefore = this.answersAtProbe;
    this.answersAtProbe = this.answers;
    if (!this.budget.tryAcquire()) {
      // An answer to anybody is proof enough; an idle connection makes room for the next look.
      // Permits may also be with attempts that nobody answers, and those prove nothing.
      const hasMadeRoom = this.group.makeRoomForOne();
      if (hasMadeRoom || this.answers === answersBefore) return undefined;
      return { isOk: true, facts: undefined };
    }
    try {
      const { user, password } = credential;
      return await probe(this.target, { user, password });
    } finally {
      this.budget.release();
    }
  }

  /** How often the target has answered somebody. */
  private get answers(): number {
    const { queryDatabaseResponses, databaseConnectionsSetupSucceeded } = this.target.counters;
    return queryDatabaseResponses + databaseConnectionsSetupSucceeded;
  }

  drain(): Promise<void> {
    for (const login of [...this.logins]) login.stop();
    for (const session of [...this.sessions.values()]) session.drain();
    if (this.clientCount === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.drained = resolve;
    });
  }

  stop(): Stopped {
    const clientsCut = this.clientCount;
    for (const login of [...this.logins]) login.stop();
    for (const session of [...this.sessions.values()]) {
      session.close('shutdown', new BerthError('shutting_down'));
    }
    const closed = Promise.all([this.group.close(), this.hubs.stop()]).then(() => {});
    return { clientsCut, closed };
  }

  private connectorFor(key: PoolKey, pool: Pool<DatabaseConnection>): DatabaseConnector {
    return new DatabaseConnector(this.target, pool, () => {
      const credential = this.credentials.find(key.user);
      if (credential === undefined) return undefined;
      const { initQuery } = this.settings;
      return { user: key.user, database: key.database, password: credential.password, initQuery };
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
      const credential = this.credentials.find(user);
      if (credential === undefined) return undefined;
      const { password } = credential;
      return { user, database, password, initQuery: undefined, startup: startup.parameters };
    });
  }

  loginBegan(login: ClientLogin): void {
    this.logins.add(login);
  }

  loginEnded(login: ClientLogin): void {
    this.logins.delete(login);
    this.countdown();
  }

  sessionBegan(session: Session): void {
    this.sessions.set(session.processId, session);
    if (this.drained !== undefined) session.drain();
  }

  sessionEnded(session: Session): void {
    this.sessions.delete(session.processId);
    if (session.userPool !== undefined) this.leavePool(session.userPool);
    this.countdown();
  }

  private countdown(): void {
    if (this.drained !== undefined && this.clientCount === 0) this.drained();
  }

  /** A wrong key is ignored, as a server does. */
  cancel(processId: number, key: string, done: () => void): void {
    const session = this.sessions.get(processId);
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

/** One endpoint: the clients that came in through it, and their counters. */
class PostgresEndpoint implements EndpointContext {
  readonly proxy: string;
  readonly name: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  readonly counters: EndpointCounters;
  private readonly engine: PostgresEngine;

  constructor(engine: PostgresEngine, name: string, counters: EndpointCounters) {
    this.engine = engine;
    this.proxy = engine.proxy;
    this.name = name;
    this.wheel = engine.wheel;
    this.observer = engine.observer;
    this.counters = counters;
  }

  get limits(): EngineSettings {
    return this.engine.settings;
  }

  hubFor(database: string): NotificationHub {
    return this.engine.hubs.hubFor(database);
  }

  accept(stream: Stream): void {
    this.counters.clientConnectionsReceived++;
    if (!OPEN_SOCKETS.mayServe) {
      this.refuse(stream);
      return;
    }
    this.counters.clientConnections++;
    this.counters.clientConnectionsInSetup++;
    this.engine.loginBegan(new EndpointLogin(this, this.engine, stream).login);
  }

  /** The system allows this process no more files than there are clients now. */
  private refuse(stream: Stream): void {
    const reason = 'too_many_connections';
    this.counters.clientConnectionsClosed++;
    this.counters.closes[reason]++;
    const scope = this.scope(nextClientConnectionId());
    this.observer.emit({ ...scope, event: 'client.closed', reason });
    const params = { limit: OPEN_SOCKETS.clientsMax };
    const detail = 'The system allows the proxy no more open files.';
    const error = new BerthError('too_many_client_connections', { params, detail });
    stream.write(errorResponse('FATAL', error));
    if (OPEN_SOCKETS.mayLinger) stream.end(this.wheel, REFUSED_LINGER_MS);
    else stream.destroy();
  }

  sessionClosed(session: Session, reason: ClientCloseReason): void {
    this.clientClosed(reason, session.isEncrypted);
    this.observer.emit({ ...this.scope(session.id), event: 'client.closed', reason });
    this.engine.sessionEnded(session);
  }

  clientClosed(reason: ClientCloseReason, wasEncrypted: boolean): void {
    this.counters.clientConnections--;
    if (wasEncrypted) this.counters.clientConnectionsTls--;
    this.counters.clientConnectionsClosed++;
    this.counters.closes[reason]++;
  }

  scope(clientConnection: ClientSession['id']) {
    return { proxy: this.proxy, endpoint: this.name, clientConnection };
  }
}

/** One login on an endpoint, seen from the login. */
class EndpointLogin implements LoginHost {
  readonly endpoint: PostgresEndpoint;
  readonly login: ClientLogin;
  private readonly engine: PostgresEngine;

  constructor(endpoint: PostgresEndpoint, engine: PostgresEngine, stream: Stream) {
    this.endpoint = endpoint;
    this.engine = engine;
    this.login = new ClientLogin(stream, this);
    const event = 'client.connected';
    endpoint.observer.emit({
      ...endpoint.scope(this.login.id),
      event,
      // The socket would keep the text for as long as it lives; ask only when somebody reads it.
      get address() {
        return stream.remoteAddress;
      },
    });
  }

  encrypted(): void {
    this.endpoint.counters.clientConnectionsTls++;
  }

  tlsFailed(detail: string): void {
    const { endpoint, login } = this;
    const event = 'client.tls_failed';
    endpoint.observer.emit({ ...endpoint.scope(login.id), event, detail });
  }

  admit(): void {
    const { maxClientConnections } = this.engine.settings;
    if (this.engine.clientCount <= maxClientConnections) return;
    const params = { limit: maxClientConnections };
    throw new BerthError('too_many_client_connections', { params });
  }

  credentialFor(user: string) {
    return this.engine.credentialFor(user);
  }

  authenticationFailed(user: string, why: LoginFailure): void {
    const { endpoint, login } = this;
    const event = 'client.authentication_failed';
    endpoint.counters.clientConnectionsSetupFailedAuth++;
    endpoint.observer.emit({ ...endpoint.scope(login.id), event, user, why });
  }

  poolFor(user: string, database: string): UserPool {
    return this.engine.joinPool(user, database);
  }

  poolLeft(pool: UserPool): void {
    this.engine.leavePool(pool);
  }

  borrowFailed(error: BerthError, waitedMs: number): void {
    const { endpoint, login } = this;
    endpoint.observer.emit({
      ...endpoint.scope(login.id),
      event: 'borrow.failed',
      why: error.code === 'borrow_timeout' ? 'timeout' : 'refused',
      waitedMs: Math.round(waitedMs),
      detail: error.detail ?? error.message,
    });
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
    const { endpoint, engine, login } = this;
    endpoint.counters.clientConnectionsInSetup--;
    endpoint.counters.clientConnectionsSetupSucceeded++;
    const event = 'client.authenticated';
    endpoint.observer.emit({ ...endpoint.scope(login.id), event, user, database });
    engine.sessionBegan(session);
    engine.loginEnded(login);
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
    const { endpoint, engine, login } = this;
    endpoint.counters.clientConnectionsInSetup--;
    endpoint.clientClosed(reason, login.isEncrypted);
    endpoint.observer.emit({ ...endpoint.scope(login.id), event: 'client.closed', reason });
    engine.loginEnded(login);
  }
}
