/** What a proxy's clients have to give who log in with IAM tokens. */

import { X509Certificate } from 'node:crypto';
import type { Principals } from '../credential/principals.ts';
import type { RateLimiter } from '../credential/rate-limit.ts';
import { bareHost, TokenJudge } from '../credential/token-judge.ts';
import type { ClientTls, DBProxy, Snapshot } from './snapshot.ts';

/** The same for all proxies. */
export interface Iam {
  readonly owner: Snapshot['Owner'];
  readonly principals: Principals;
  readonly limiter: RateLimiter;
}

export function tokenJudge(
  proxy: DBProxy,
  tls: ClientTls | undefined,
  { owner, principals, limiter }: Iam,
): TokenJudge {
  const { region, accountId } = owner;
  const prefix = `arn:aws:rds-db:${region}:${accountId}:dbuser:${proxy.DBProxyId}/`;
  const hosts = hostsByEndpoint(proxy, tls);
  return new TokenJudge({
    principals,
    limiter,
    region,
    resourceOf: (user) => prefix + user,
    hostsOf: (endpoint) => hosts.get(endpoint) ?? [],
    now: Date.now,
  });
}

/**
 * An endpoint is known by its host name, by where it listens, and by what its certificate proves. A wildcard
 * proves nothing of one endpoint.
 */
function hostsByEndpoint(
  { Endpoints }: DBProxy,
  tls: ClientTls | undefined,
): ReadonlyMap<string, readonly string[]> {
  const proved = tls === undefined ? [] : provedNames(tls.Certificate);
  return new Map(
    Endpoints.map(({ DBProxyEndpointName, HostName, Listen }) => {
      const own = 'socketPath' in Listen ? [] : [Listen.host];
      return [DBProxyEndpointName, [HostName, ...own, ...proved].map(bareHost)];
    }),
  );
}

/** Certificates that are remembered; beyond it all are read anew. */
const CERTIFICATES_MAX = 2_000;
/** By their texts: each change of anything asks for those of all proxies, and they stay the same for weeks. */
const knownNames = new Map<string, readonly string[]>();

function provedNames(certificate: string): readonly string[] {
  let names = knownNames.get(certificate);
  if (names === undefined) {
    if (knownNames.size >= CERTIFICATES_MAX) knownNames.clear();
    names = namesIn(certificate);
    knownNames.set(certificate, names);
  }
  return names;
}

function namesIn(certificate: string): readonly string[] {
  const { subjectAltName = '' } = new X509Certificate(certificate);
  const names = [...subjectAltName.matchAll(/(?:DNS|IP Address):"?([^,"\s]+)/g)];
  return names.map(([, name = '']) => name).filter((name) => !name.includes('*'));
}
