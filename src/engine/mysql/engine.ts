/**
 * The MySQL and MariaDB engine of one proxy: its logins and sessions, and its pools on its target. The
 * only thing outside this room knows it by is the `Engine` contract.
 */

import type { BerthError } from '../../base/errors.ts';
import { acceptedBeside, type UserCredential } from '../../credential/credentials.ts';
import type { IamFailure } from '../../credential/token-judge.ts';
import type { Stream } from '../../net/stream.ts';
import type { EndpointCounters } from '../../observe/counters.ts';
import type { Pool } from '../../pool/pool.ts';
import type { PoolKey } from '../../pool/pool-host.ts';
import type { Observation } from '../../target/monitor.ts';
import type { EngineOptions } from '../contract.ts';
import type { DatabaseUser } from '../database-passwords.ts';
import { Endpoint } from '../endpoint.ts';
import type { Arrival, Lobby } from '../lobby.ts';
import { TargetEngine } from '../target-engine.ts';
import type { PlaceOptions } from '../target-place.ts';
import type { WatchCallbacks } from '../target-watch.ts';
import { judgeToken } from '../token-login.ts';
import {
  ClientAuthenticator,
  type ClientPlugin,
  newScramble,
  pluginFor,
} from './auth/client-authenticator.ts';
import { type PasswordKey, passwordKeyOf } from './auth/password-key.ts';
import type { ClientSession } from './client-session.ts';
import { DatabaseConnector } from './connector.ts';
import type { DatabaseConnection } from './database-connection.ts';
import type { EndpointContext } from './endpoint-context.ts';
import { MySqlEndpointLogin } from './endpoint-login.ts';
import { type ClientLogin, greetingFor } from './login/client-login.ts';
import {
  type Capabilities,
  hasSchema,
  offeredTo,
  readVariant,
  variantFor,
  variantOf,
} from './login/negotiation.ts';
import { type Greeted, MySqlArrival, Reception } from './login/reception.ts';
import { KnownServer, type ServerFacts } from './login/server-facts.ts';
import { probe, watch } from './probe.ts';
import { nextThreadId, type Session } from './session.ts';
import { StatementRegistry } from './statement/registry.ts';
import { MySqlTarget, type TargetContext } from './target-context.ts';
import { UserChange, type UserChangeHost } from './user-change.ts';
import { UserPool } from './user-pool.ts';
import { CLIENT_MULTI_STATEMENTS, has } from './wire/capabilities.ts';
import type { ChangeUser } from './wire/handshake.ts';
import { errorPacket } from './wire/replies.ts';

export class MySqlEngine extends TargetEngine<
  DatabaseConnection,
  UserPool,
  ClientLogin,
  Session,
  TargetContext
> {
  readonly passwordKey: PasswordKey;
  readonly statements = new StatementRegistry();
  /** What clients are greeted with: the writer, or whichever was met first. */
  readonly server = new KnownServer();

  constructor(options: EngineOptions) {
    super(options);
    this.passwordKey = passwordKeyOf(options.settings.passwordKey);
  }

  newContext(place: PlaceOptions): TargetContext {
    const identityOf = (user: string) => this.passwords.loginOf(user);
    const context: TargetContext = new MySqlTarget(place, identityOf, (facts) => {
      const isWriter = this.writer?.context === context;
      if (isWriter || this.server.facts === undefined) this.server.learn(facts);
    });
    return context;
  }

  protected override writerChanged(): void {
    const facts = this.writer?.context.server.facts;
    if (facts !== undefined) this.server.learn(facts);
  }

  protected newEndpoint(name: string, counters: EndpointCounters): MySqlEndpoint {
    return new MySqlEndpoint(this, name, counters);
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
  override hasSession(): boolean {
    return false;
  }

  protected newUserPool(pool: Pool<DatabaseConnection>): UserPool {
    return new UserPool(pool, this.wheel, hasSchema(pool.key.variant));
  }

  protected lookAs(login: DatabaseUser, context: TargetContext): Promise<Observation> {
    return probe(context, login);
  }

  openWatch(login: DatabaseUser, context: TargetContext, callbacks: WatchCallbacks) {
    return watch(context, login, callbacks);
  }

  refusal(error: BerthError): Uint8Array {
    return errorPacket(0, error);
  }

  protected numberOf(session: Session): number {
    return session.threadId;
  }

  // --- For endpoints and logins

  credentialFor(user: string): {
    readonly credential: UserCredential | undefined;
    readonly plugin: ClientPlugin;
    readonly isIam: boolean;
  } {
    const { credentials } = this;
    const credential = credentials.find(user);
    const plugin = pluginFor(credentials.authTypeFor(user));
    return { credential, plugin, isIam: credentials.isIam(user) };
  }

  /** The pool for clients that have agreed on `capabilities`; kept until `leavePool`. */
  joinPool(
    endpoint: string,
    user: string,
    capabilities: Capabilities,
    hasSchema: boolean,
  ): UserPool {
    return this.join(endpoint, keyOf(user, variantOf(capabilities), hasSchema));
  }

  /** The pool for the same clients, with or without a schema, in place of `userPool`. */
  changePool(userPool: UserPool, hasSchema: boolean): UserPool {
    const { user, variant = '' } = userPool.pool.key;
    const other = this.joinBeside(userPool, keyOf(user, variant, hasSchema));
    this.leavePool(userPool);
    return other;
  }

  connectorFor(
    context: TargetContext,
    key: PoolKey,
    pool: Pool<DatabaseConnection>,
  ): DatabaseConnector {
    return new DatabaseConnector(context, pool, () => {
      const login = this.passwords.loginOf(key.user);
      const { initQuery } = this.settings;
      if (login === undefined) return { login, initQuery };
      const variant = readVariant(key.variant ?? '');
      return { login: { ...login, variant }, initQuery };
    });
  }
}

function keyOf(user: string, shared: string, hasSchema: boolean): PoolKey {
  return { user, database: '', variant: variantFor(shared, hasSchema) };
}

/** One endpoint, with what only these clients need. */
export class MySqlEndpoint extends Endpoint<Session> implements EndpointContext {
  private readonly owner: MySqlEngine;

  constructor(engine: MySqlEngine, name: string, counters: EndpointCounters) {
    super(engine, name, counters);
    this.owner = engine;
  }

  protected clientCame(stream: Stream, arrival: Arrival | undefined): void {
    const arrived = arrival instanceof MySqlArrival ? arrival : undefined;
    const { login } = new MySqlEndpointLogin(this, this.owner, stream, arrived?.greeted);
    this.owner.clients.loginBegan(login);
    login.begin(arrived);
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
    const { credential, plugin, isIam } = this.owner.credentialFor(user);
    let principal: string | undefined;
    const checkToken = (token: string): IamFailure | undefined => {
      const login = { user, endpoint: this.name, token };
      const judged = judgeToken(this.limits, this.owner.credentials, stream, login);
      principal = judged.principal;
      return judged.why;
    };
    const authenticator = new ClientAuthenticator({
      password: credential?.password,
      others: acceptedBeside(credential, Date.now()),
      checkToken: isIam ? checkToken : undefined,
      plugin,
      isSecure: stream.isEncrypted || (stream.isLocal && !isIam),
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
        const whose = principal === undefined ? {} : { principal };
        this.observer.emit({
          ...this.scope(session.id),
          event,
          engine: 'MySQL',
          user,
          why,
          ...whose,
        });
      },
      join: (welcomed) => {
        const { mariadbCapabilities } = session;
        const agreed = { capabilities, mariadbCapabilities };
        const userPool = this.owner.joinPool(this.name, user, agreed, arrival.schema !== '');
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
