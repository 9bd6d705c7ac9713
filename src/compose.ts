/** The only file that constructs concrete things and connects them. */

import { TimerWheel } from './base/timer-wheel.ts';
import type { ProbeResult } from './cli/check.ts';
import { CHECK_RATE_LIMITS } from './control/aws/access.ts';
import { Throttle } from './control/aws/throttle.ts';
import { answerOwn, isForBerth } from './control/berth/api.ts';
import { type HttpApi, httpApi } from './control/http/api.ts';
import { signToken } from './control/iam/sign-token.ts';
import type { ProxyObservation } from './control/rds/answers.ts';
import { answerRds, type RdsApiOptions } from './control/rds/api.ts';
import {
  answerSecrets,
  isForSecrets,
  type SecretsApiOptions,
} from './control/secretsmanager/api.ts';
import { RateLimiter } from './credential/rate-limit.ts';
import type { EngineFactory } from './engine/contract.ts';
import { MySqlEngine } from './engine/mysql/engine.ts';
import { KnownServer } from './engine/mysql/login/server-facts.ts';
import { probe as probeMySql } from './engine/mysql/probe.ts';
import { PostgresEngine } from './engine/postgres/engine.ts';
import { ServerProtocol } from './engine/postgres/login/server-protocol.ts';
import { probe as probePostgres } from './engine/postgres/probe.ts';
import { containFaults } from './net/stream.ts';
import type { Observer } from './observe/events.ts';
import { createMetrics } from './observe/metrics.ts';
import type { ProxyDependencies } from './proxy/proxy.ts';
import { ProxyRegistry } from './proxy/registry.ts';
import { targetAddress } from './proxy/settings.ts';
import type { DBInstance, DBProxy, SecretEntry } from './proxy/snapshot.ts';
import { databaseTls } from './proxy/tls.ts';

const ENGINES: Readonly<Record<DBProxy['EngineFamily'], EngineFactory>> = {
  POSTGRESQL: (options) => new PostgresEngine(options),
  MYSQL: (options) => new MySqlEngine(options),
};

export interface DataPlane {
  readonly registry: ProxyRegistry;
  readonly wheel: TimerWheel;
}

/** `refreshSecret` looks a secret up again, and has applied what came of it when it resolves. */
export function dataPlane(
  observer: Observer,
  refreshSecret: ProxyDependencies['refreshSecret'] = async () => {},
): DataPlane {
  containFaults((error) =>
    observer.emit({ event: 'internal.failed', doing: 'read what was sent', error }),
  );
  const wheel = startedWheel();
  const registry = new ProxyRegistry({
    wheel,
    observer,
    engines: ENGINES,
    refreshSecret,
    signToken,
  });
  return { wheel, registry };
}

export function managementApi(options: {
  readonly registry: ProxyRegistry;
  readonly observer: Observer;
  readonly version: string;
  readonly allowAnonymous: boolean;
  /** Undefined: there are no APIs of AWS. */
  readonly aws:
    | Omit<RdsApiOptions & SecretsApiOptions, 'observe' | 'onError' | 'throttle' | 'checks'>
    | undefined;
}): HttpApi {
  const { registry, observer, version, allowAnonymous, aws } = options;
  const onError = (error: unknown) =>
    observer.emit({ event: 'internal.failed', doing: 'answer HTTP', error });
  // The same for all of them, and for as long as the process serves.
  const shared = { onError, throttle: new Throttle(), checks: new RateLimiter(CHECK_RATE_LIMITS) };
  const observed = { ...shared, observe: (name: string) => observe(registry, name) };
  const paused = { ...shared, pausable: (name: string) => registry.find(name) };
  const metrics = createMetrics(registry, version);
  return httpApi({
    metrics: () => metrics.scrape(),
    health: () => undefined,
    readiness: () =>
      Array.from(registry.all, ({ name, problems }) => ({ proxy: name, reasons: problems })),
    sessions: (proxy, query) => registry.describeSessions(proxy, query),
    pools: (proxy) => registry.describePools(proxy),
    onError,
    allowAnonymous,
    aws:
      aws &&
      ((request, source) => {
        const sent = { request, source };
        if (isForSecrets(request)) return answerSecrets(sent, { ...aws, ...shared });
        if (isForBerth(request)) return answerOwn(sent, { ...aws, ...paused });
        return answerRds(sent, { ...aws, ...observed });
      }),
  });
}

function observe(registry: ProxyRegistry, name: string): ProxyObservation | undefined {
  const proxy = registry.find(name);
  if (proxy === undefined) return undefined;
  const listening = new Set(proxy.addresses.map(({ endpoint }) => endpoint));
  return { listening, targets: proxy.targets, pause: proxy.pauseState };
}

/** Logs in to `target` as the user of `secret`; for `berth check`. */
export async function probeTarget(target: DBInstance, secret: SecretEntry): Promise<ProbeResult> {
  const wheel = startedWheel();
  const startedAt = performance.now();
  const { username: user, password } = secret;
  const place = { address: targetAddress(target), wheel, databaseTls: databaseTls(target) };
  const identity = { user, password };
  const observation =
    target.Engine === 'postgres'
      ? await probePostgres({ ...place, protocol: new ServerProtocol() }, identity)
      : await probeMySql({ ...place, server: new KnownServer() }, identity);
  wheel.stop();
  if (!observation.isOk) return { isReached: false, detail: observation.detail };
  return {
    isReached: true,
    serverVersion: observation.facts?.version ?? '',
    maxConnections: observation.facts?.maxConnections ?? 0,
    durationMs: performance.now() - startedAt,
  };
}

function startedWheel(): TimerWheel {
  const clock = () => performance.now();
  const wheel = new TimerWheel(clock());
  wheel.start(clock);
  return wheel;
}
