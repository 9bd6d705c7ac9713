/**
 * The MySQL and MariaDB engine of one proxy: its logins and sessions, and its pools on one target. The
 * only thing outside this room knows it by is the `Engine` contract.
 */

import type { BerthError } from '../../base/errors.ts';
import type { TimerWheel } from '../../base/timer-wheel.ts';
import {
  acceptedBeside,
  type Credentials,
  type UserCredential,
} from '../../credential/credentials.ts';
import type { Stream } from '../../net/stream.ts';
import type { EndpointCounters, TargetGauges } from '../../observe/counters.ts';
import type {
  Listing,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../../observe/descriptions.ts';
import type { Observer } from '../../observe/events.ts';
import { ConnectionBudget, type ConnectionLimits } from '../../pool/budget.ts';
import type { Pool } from '../../pool/pool.ts';
import { PoolGroup } from '../../pool/pool-group.ts';
import type { PoolKey } from '../../pool/pool-host.ts';
import type { Observation } from '../../target/monitor.ts';
import { Clients } from '../clients.ts';
import type { DatabaseTls, Engine, EngineOptions, EngineSettings, Stopped } from '../contract.ts';
import { DatabasePasswords } from '../database-passwords.ts';
import { Endpoint, type EndpointEngine } from '../endpoint.ts';
import type { Arrival, Lobby } from '../lobby.ts';
import { TargetPools } from '../target-pools.ts';
import {
  ClientAuthenticator,
  type ClientPlugin,
  newScramble,
  pluginFor,
} from './auth/client-authenticator.ts';
import { type PasswordKey, passwordKeyOf } from './auth/password-key.ts';
import { BaseSettings } from './base-settings.ts';
import { Canceller } from './cancel.ts';
import type { ClientSession } from './client-session.ts';
import { DatabaseConnector } from './connector.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { MySqlEndpointLogin } from './endpoint-login.ts';
import { type ClientLogin, greetingFor } from './login/client-login.ts';
import { type Capabilities, offeredTo, readVariant, variantOf } from './login/negotiation.ts';
import { type Greeted, MySqlArrival, Reception } from './login/reception.ts';
import { KnownServer, type ServerFacts } from './login/server-facts.ts';
import { probe } from './probe.ts';
import { nextThreadId, type Session } from './session.ts';
import { StatementRegistry } from './statement/registry.ts';
import type { TargetContext } from './target-context.ts';
import { UserChange, type UserChangeHost } from './user-change.ts';
import { UserPool } from './user-pool.ts';
import { CLIENT_MULTI_STATEMENTS, has } from './wire/capabilities.ts';
import type { ChangeUser } from './wire/handshake.ts';
import { errorPacket } from './wire/replies.ts';

/**
 * Nothing takes the schema of a connection away again, so the sessions that have none have connections of
 * their own, on which there never was one.
 */
const WITHOUT_SCHEMA = '.none';

export class MySqlEngine implements Engine, EndpointEngine<Session> {
  readonly proxy: string;
  readonly wheel: TimerWheel;
  readonly observer: Observer;
  settings: EngineSettings;
  readonly clients = new Clients<ClientLogin, Session>();
  readonly passwordKey: PasswordKey;
  readonly statements = new StatementRegistry();
  private credentials: Credentials;
  private readonly refreshSecret: EngineOptions['refreshSecret'];
  private readonly passwords: DatabasePasswords;
  private readonly target: TargetContext;
  private readonly budget: ConnectionBudget;
  private readonly group: PoolGroup<DatabaseConnection>;
  private readonly pools: TargetPools<DatabaseConnection>;
  private readonly endpoints = new Map<string, MySqlEndpoint>();
  private readonly userPools = new WeakMap<Pool<DatabaseConnection>, UserPool>();
  /** Goes up when what clients are told at login may have changed. */
  private generation = 0;

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
    this.passwordKey = passwordKeyOf(options.settings.passwordKey);
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
  }

  private targetContext(options: EngineOptions): TargetContext {
    const { proxy, target, address, wheel, observer, targetCounters: counters } = options;
    const current = () => this.settings.databaseTls;
    const place = {
      address,
      wheel,
      server: new KnownServer(),
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
      server: place.server,
      baseSettings: new BaseSettings(),
      canceller: new Canceller(place, (user) => this.passwords.loginOf(user)),
      get databaseTls() {
        return current();
      },
    };
  }

  accept(stream: Stream, name: string, counters: EndpointCounters, arrival?: Arrival): void {
    let endpoint = this.endpoints.get(name);
    if (endpoint === undefined) {
      endpoint = new MySqlEndpoint(this, name, counters);
      this.endpoints.set(name, endpoint);
    }
    endpoint.accept(stream, arrival);
  }

  receive(stream: Stream, lobby: Lobby): void {
    new Reception(stream, lobby, {
      greet: (to, greeted) => this.server.whenKnown((server) => greeted(this.greet(to, server))),
    });
  }

  private greet(stream: Stream, server: ServerFacts): Greeted {
    const greeted = {
      threadId: nextThreadId(),
      scramble: newScramble(),
      offered: offeredTo(server, { hasTls: this.settings.clientTls.accept !== undefined }),
    };
    const { serverVersion = server.version } = this.settings;
    const { plugin } = this.credentialFor('');
    stream.write(greetingFor(server, { ...greeted, serverVersion, plugin }));
    return greeted;
  }

  /** KILL names them inside of a session. */
  hasSession(): boolean {
    return false;
  }

  configure(settings: EngineSettings, credentials: Credentials): void {
    const before = this.settings;
    const old = this.credentials;
    this.settings = settings;
    this.credentials = credentials;
    this.group.configure(settings.pool);
    // A changed password is for the next login; open connections stay.
    const isInitChanged = before.initQuery !== settings.initQuery;
    if (isInitChanged) this.generation++;
    // What is open was opened as the configuration said then, and goes when its borrower is done.
    const isTlsChanged = !isSameTls(before.databaseTls, settings.databaseTls);
    this.group.configurationChanged(
      (key) => isInitChanged || isTlsChanged || credentials.find(key.user) === undefined,
    );
    this.passwords.prune();
    this.group.mended(({ user }) => old.find(user)?.version !== credentials.find(user)?.version);
  }

  limit(limits: ConnectionLimits): void {
    this.budget.configure(limits);
  }

  gauges(isAvailable: boolean): TargetGauges {
    return { ...this.group.gauges(isAvailable), listeningConnections: 0, subscriptions: 0 };
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
    return { clientsCut, closed: this.group.close() };
  }

  // --- For endpoints and logins

  clientCame(stream: Stream, name: string, arrival: Arrival | undefined): void {
    const endpoint = this.endpoints.get(name);
    if (endpoint === undefined) return;
    const arrived = arrival instanceof MySqlArrival ? arrival : undefined;
    const { login } = new MySqlEndpointLogin(endpoint, this, stream, arrived?.greeted);
    this.clients.loginBegan(login);
    login.begin(arrived);
  }

  refusal(error: BerthError): Uint8Array {
    return errorPacket(0, error);
  }

  sessionEnded(session: Session): void {
    this.leavePool(session.userPool);
    this.clients.sessionEnded(session.threadId);
  }

  credentialFor(user: string): {
    readonly credential: UserCredential | undefined;
    readonly plugin: ClientPlugin;
  } {
    const credential = this.credentials.find(user);
    return { credential, plugin: pluginFor(this.credentials.authTypeFor(user)) };
  }

  /** A client may know a newer one than the proxy does; his next attempt is compared with it. */
  passwordWasWrong(user: string): void {
    void this.refreshSecret(user);
  }

  get server(): KnownServer {
    return this.target.server;
  }

  /** The pool for clients that have agreed on `capabilities`; kept until `leavePool`. */
  joinPool(user: string, capabilities: Capabilities, hasSchema: boolean): UserPool {
    return this.join(user, variantOf(capabilities), hasSchema);
  }

  /** The pool for the same clients, with or without a schema, in place of `userPool`. */
  changePool(userPool: UserPool, hasSchema: boolean): UserPool {
    const { user, variant = '' } = userPool.pool.key;
    const other = this.join(user, variant.replace(WITHOUT_SCHEMA, ''), hasSchema);
    this.leavePool(userPool);
    return other;
  }

  private join(user: string, shared: string, hasSchema: boolean): UserPool {
    const variant = hasSchema ? shared : `${shared}${WITHOUT_SCHEMA}`;
    const pool = this.group.join({ user, database: '', variant });
    let userPool = this.userPools.get(pool);
    if (userPool === undefined) {
      userPool = new UserPool(pool, this.wheel, hasSchema);
      this.userPools.set(pool, userPool);
    }
    userPool.useGeneration(this.generation);
    return userPool;
  }

  leavePool(userPool: UserPool): void {
    this.group.leave(userPool.pool);
  }

  private connectorFor(key: PoolKey, pool: Pool<DatabaseConnection>): DatabaseConnector {
    return new DatabaseConnector(this.target, pool, () => {
      const login = this.passwords.loginOf(key.user);
      const { initQuery } = this.settings;
      if (login === undefined) return { login, initQuery };
      const variant = readVariant(key.variant ?? '');
      return { login: { ...login, variant }, initQuery };
    });
  }
}

function isSameTls(a: DatabaseTls, b: DatabaseTls): boolean {
  return a.connect === b.connect && a.isRequired === b.isRequired;
}

/** One endpoint, with what only these clients need. */
export class MySqlEndpoint extends Endpoint<Session> implements EndpointContext {
  private readonly owner: MySqlEngine;

  constructor(engine: MySqlEngine, name: string, counters: EndpointCounters) {
    super(engine, name, counters);
    this.owner = engine;
  }

  get statements(): StatementRegistry {
    return this.owner.statements;
  }

  changePool(userPool: UserPool, hasSchema: boolean): UserPool {
    return this.owner.changePool(userPool, hasSchema);
  }

  changeUser(session: ClientSession, stream: Stream, change: ChangeUser): UserChange {
    const { attributes, collation, database } = change;
    const user = change.user.toString();
    const { capabilities } = session;
    const applicationName = attributes.get('program_name') ?? '';
    const { credential, plugin } = this.owner.credentialFor(user);
    const authenticator = new ClientAuthenticator({
      password: credential?.password,
      others: acceptedBeside(credential, Date.now()),
      plugin,
      isSecure: stream.isEncrypted || stream.isLocal,
      passwordKey: this.owner.passwordKey,
    });
    const priority = this.limits.priorityOf({ user, applicationName, endpoint: this.name });
    const arrival = {
      // The protocol has room for one byte at the first log-in, so no more is known here.
      collation: collation ?? session.collation,
      schema: database?.toString() ?? '',
      allowsMultiStatements: has(capabilities, CLIENT_MULTI_STATEMENTS),
    };
    const host: UserChangeHost = {
      wheel: this.wheel,
      timeoutMs: this.limits.loginTimeoutMs,
      flavour: this.owner.server.facts?.flavour ?? 'mysql',
      user,
      authenticator,
      applicationName,
      priority,
      authenticationFailed: (why) => {
        const event = 'client.authentication_failed';
        this.observer.emit({ ...this.scope(session.id), event, engine: 'MySQL', user, why });
      },
      join: (welcomed) => {
        const { mariadbCapabilities } = session;
        const agreed = { capabilities, mariadbCapabilities };
        const userPool = this.owner.joinPool(user, agreed, arrival.schema !== '');
        userPool.welcome(arrival, priority, { welcomed });
        return userPool;
      },
      poolLeft: (userPool) => this.owner.leavePool(userPool),
    };
    return new UserChange(host, session, stream);
  }

  sessionFor(threadId: number): Session | undefined {
    return this.owner.clients.session(threadId);
  }
}
