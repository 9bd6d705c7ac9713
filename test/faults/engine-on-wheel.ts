/**
 * A PostgreSQL engine in this process, on real sockets, with a clock that only the test turns: what
 * takes 10 seconds in a running proxy takes one call of `pass`.
 */

import { TimerWheel } from '../../src/base/timer-wheel.ts';
import { Credentials } from '../../src/credential/credentials.ts';
import { Secret } from '../../src/credential/secret.ts';
import type { EngineMember, EngineSettings } from '../../src/engine/contract.ts';
import { PostgresEngine } from '../../src/engine/postgres/engine.ts';
import type { TcpAddress } from '../../src/net/address.ts';
import { type Listener, listen } from '../../src/net/listener.ts';
import { EndpointCounters, TargetCounters, type TargetGauges } from '../../src/observe/counters.ts';
import type { Event, EventName } from '../../src/observe/events.ts';
import type { PoolSettings } from '../../src/pool/contract.ts';
import { Arrivals } from '../harness/deadline.ts';
import { TEST_USERS } from '../harness/postgres.ts';
import { type LoginOptions, RawClient } from '../harness/raw-client.ts';
import { NO_DATABASE_TOKENS, NO_TOKENS } from '../harness/tokens.ts';

const POOL: PoolSettings = {
  borrowTimeoutMs: 120_000,
  borrowNoticeMs: 5_000,
  idleTimeoutMs: 1_800_000,
  idleAgeMs: 300_000,
  lifetimeMs: 86_400_000,
  lifetimeJitter: 0,
  probeAfterMs: 30_000,
  probeTimeoutMs: 2_000,
  resetTimeoutMs: 10_000,
  maxConnecting: 4,
  backoffFirstMs: 100,
  backoffMaxMs: 5_000,
  starvationMs: 500,
};

const SETTINGS: EngineSettings = {
  idleClientTimeoutMs: 1_800_000,
  borrowedIdleTimeoutMs: 300_000,
  clientLifetimeMs: 86_400_000,
  loginTimeoutMs: 15_000,
  maxClientConnections: 1_000,
  isReplicationRefused: false,
  readOnlyEndpoints: new Map(),
  hasNotificationFanOut: true,
  isSessionMode: false,
  isDebugLogging: false,
  areVariableSetsExcluded: false,
  initQuery: undefined,
  serverVersion: undefined,
  passwordKey: undefined,
  tokens: NO_TOKENS,
  priorityOf: () => 0,
  pool: POOL,
  clientTls: { accept: undefined, isRequired: false, isCertificateRequired: false },
};

/** The longest step of the clock: it passes every tick, as real time would. */
const STEP_MS = 100;

const NOBODY = {
  target: 'orders',
  counters: new TargetCounters(),
  reason: () => 'there is none',
};

export class EngineOnWheel {
  readonly wheel = new TimerWheel(0);
  readonly engine: PostgresEngine;
  readonly member: EngineMember;
  readonly events = new Arrivals<Event>();
  readonly counters = new EndpointCounters();
  readonly targetCounters = new TargetCounters();
  readonly #listener: Listener<TcpAddress>;

  /** `port` is where the database, or a network before it, listens. */
  constructor(port: number, maxConnections: number, pool: Partial<PoolSettings> = {}) {
    const secrets = TEST_USERS.map(({ name, password }) => ({
      Name: name,
      username: name,
      password: new Secret(password),
    }));
    const auth = secrets.map(({ Name }) => ({
      SecretArn: Name,
      ClientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256' as const,
      IAMAuth: 'DISABLED' as const,
    }));
    this.engine = new PostgresEngine({
      proxy: 'orders',
      wheel: this.wheel,
      observer: { emit: (event) => this.events.push(event) },
      settings: { ...SETTINGS, pool: { ...POOL, ...pool } },
      credentials: Credentials.resolve(auth, secrets).credentials,
      databaseTokens: NO_DATABASE_TOKENS,
      refreshSecret: () => Promise.resolve(),
      waiting: NOBODY,
      waitingToRead: NOBODY,
    });
    this.member = this.engine.add({
      target: 'orders-db',
      address: { host: '127.0.0.1', port },
      databaseTls: { connect: undefined, isRequired: false },
      limits: { maxConnections, limitedBy: 'MaxConnections', maxIdleConnections: maxConnections },
      counters: this.targetCounters,
      isWatched: false,
      doubted: () => undefined,
    });
    this.engine.follow(this.member);
    this.#listener = listen({ host: '127.0.0.1', port: 0 }, (stream) =>
      this.engine.accept(stream, 'default', this.counters),
    );
  }

  /** Lets time go by, tick by tick. The once-a-second audit of the pools runs with it. */
  pass(ms: number): void {
    const end = this.wheel.now + ms;
    while (this.wheel.now < end) this.wheel.advance(Math.min(end, this.wheel.now + STEP_MS));
  }

  login(options: Partial<LoginOptions> = {}): Promise<RawClient> {
    const address = { port: this.#listener.address.port };
    const app = { user: 'app', password: 'app-password', database: 'app' };
    return RawClient.login(address, { ...app, ...options });
  }

  get gauges(): TargetGauges {
    return this.member.gauges(true);
  }

  /** Resolves when `count` events of this name have come, those before the call included. */
  async until<Name extends EventName>(
    name: Name,
    count = 1,
  ): Promise<Extract<Event, { event: Name }>[]> {
    const isWanted = (event: Event): event is Extract<Event, { event: Name }> =>
      event.event === name;
    return await this.events.until(
      () => {
        const found = this.events.all.filter(isWanted);
        return found.length >= count ? found : undefined;
      },
      () => `${count} ${name}; there were ${this.events.all.map(({ event }) => event).join(' ')}`,
    );
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    this.engine.stop();
    // The sockets that wait for the other side's end.
    this.pass(15_000);
  }
}
