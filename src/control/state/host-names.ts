/**
 * The host names of endpoints, as RDS Proxy builds them: `orders.proxy-0123456789ab.us-east-1.DOMAIN`,
 * and `reports.endpoint.proxy-...` for one that is not the default. They stay when addresses change, and
 * a wildcard certificate of the proxy covers them all.
 */

import type { SecretOwner } from '../secret-arn.ts';

/** For private use (ICANN, 2024), so nobody else can own a name in it. */
export const USUAL_DOMAIN = 'berth.internal';

/** As long as RDS Proxy's. */
const TOKEN_LENGTH = 12;

export interface NamePlace extends Pick<SecretOwner, 'region'> {
  readonly domain: string;
}

/** `endpoint` is undefined for the default one. Lower case, as DNS compares. */
export function hostNameOf(
  place: NamePlace,
  proxy: { readonly id: string; readonly name: string },
  endpoint?: string,
): string {
  const label = endpoint === undefined ? proxy.name : `${endpoint}.endpoint`;
  return `${label}.${proxyDomain(place, proxy)}`.toLowerCase();
}

/** What a certificate has to have for all endpoints that a proxy may ever have. */
export function wildcardsOf(place: NamePlace, proxy: { readonly id: string }): readonly string[] {
  const domain = proxyDomain(place, proxy).toLowerCase();
  return [`*.${domain}`, `*.endpoint.${domain}`];
}

function proxyDomain({ region, domain }: NamePlace, { id }: { readonly id: string }): string {
  return `proxy-${id.replace(/^prx-/, '').slice(0, TOKEN_LENGTH)}.${region}.${domain}`;
}
