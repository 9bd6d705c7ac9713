/** What the certificate of a proxy has to prove. */

import { isIP } from 'node:net';
import { hostname } from 'node:os';
import type { Endpoint } from '../../proxy/snapshot.ts';
import { isHost } from '../listen-address.ts';

const ALWAYS_NAMED = ['localhost', '127.0.0.1', '::1'];
const WILDCARDS = ['0.0.0.0', '::'];

/** `own`: the names that the endpoints have, whatever they listen on. */
export function serverNames(
  own: readonly string[],
  endpoints: readonly Pick<Endpoint, 'Listen'>[],
): readonly string[] {
  const hosts = endpoints.flatMap(({ Listen }) => ('socketPath' in Listen ? [] : [Listen.host]));
  const names = [...ALWAYS_NAMED, hostname(), ...hosts].map((name) => name.toLowerCase());
  const known = [...new Set(names)].filter((name) => !WILDCARDS.includes(name) && isNameable(name));
  return [...own, ...known];
}

/** Host names with an underscore are none to TLS. */
function isNameable(name: string): boolean {
  return isIP(name) !== 0 || (isHost(name) && !name.includes('_'));
}
