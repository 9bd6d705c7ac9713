/**
 * The rules that need two places of the file: names that must be unique, names that must exist,
 * addresses that cannot both be listened on. It works on what `salvage.ts` finds well-formed, so that
 * one message lists these problems beside those of the schema. Pure.
 */

import type { Address } from '../proxy/snapshot.ts';
import { formatPath, type Path } from './configuration-error.ts';
import { isLoopback, overlaps } from './listen-address.ts';
import { type Parts, type Placed, type PlacedProxy, type SecretParts, salvage } from './salvage.ts';
import { matchesArn } from './secret-arn.ts';

/** `text` leaves out the value at `path`: whether that may be shown is decided in `explain.ts`. */
export interface Conflict {
  readonly path: Path;
  readonly text: string;
  /** True when `text` says it all, and the value is not to be added. */
  readonly isComplete?: boolean;
}

export function crossCheck(input: unknown): readonly Conflict[] {
  const parts = salvage(input);
  const endpoints = parts.proxies.flatMap((proxy) => proxy.endpointNames);
  return [
    ...repeated(parts.instanceNames),
    ...repeated(parts.secrets.map(({ name }) => name)),
    ...repeated(parts.proxies.flatMap(({ name }) => name)),
    ...repeated(endpoints),
    ...endpoints.filter(({ value }) => value === 'default').map(reservedName),
    ...duplicateAddresses(parts.listeners),
    ...parts.proxies.flatMap((proxy) => [
      ...checkAuth(proxy, parts),
      ...checkTargets(proxy, parts),
      ...checkIdlePercent(proxy),
      ...checkPriorities(proxy, parts),
    ]),
  ];
}

function repeated(names: readonly Placed<string>[]): readonly Conflict[] {
  const seen = new Map<string, Path>();
  return names.flatMap(({ value, path }) => {
    const first = seen.get(value);
    if (first === undefined) {
      seen.set(value, path);
      return [];
    }
    return [{ path, text: `must be unique, and ${formatPath(first)} is the same` }];
  });
}

function reservedName({ path }: Placed<string>): Conflict {
  return { path, text: 'must not be the name of the endpoint that every proxy has' };
}

function duplicateAddresses(listeners: readonly Placed<Address>[]): readonly Conflict[] {
  return listeners.flatMap(({ value, path }, index) => {
    const taken = listeners.slice(0, index).find((earlier) => overlaps(earlier.value, value));
    if (taken === undefined) return [];
    return [{ path, text: `must not be an address that ${formatPath(taken.path)} listens on` }];
  });
}

function checkAuth({ secretArns }: PlacedProxy, parts: Parts): readonly Conflict[] {
  const users = new Set<string>();
  return secretArns.flatMap(({ value: arn, path }) => {
    const secret = findSecret(arn, parts);
    if (secret === undefined) {
      return [{ path, text: 'must be the Name or the ARN of a secret in Secrets' }];
    }
    const { username } = secret;
    if (username === undefined || !users.has(username)) {
      if (username !== undefined) users.add(username);
      return [];
    }
    const text = `Credentials couldn't be retrieved. The database user "${username}" was found in multiple DB proxy authentication entries`;
    return [{ path, text, isComplete: true }];
  });
}

function findSecret(arn: string, { secrets, owner }: Parts): SecretParts | undefined {
  return secrets.find(({ name }) => matchesArn(name.value, arn, owner));
}

function checkTargets({ targets }: PlacedProxy, parts: Parts): readonly Conflict[] {
  return targets.flatMap(({ value: identifier, path }) => {
    if (!parts.instanceNames.some(({ value }) => value === identifier)) {
      return [{ path, text: 'must be the name of a DB instance in DBInstances' }];
    }
    const address = parts.instanceAddresses.get(identifier);
    const own = parts.listeners.find(({ value }) => reaches(address, value));
    if (own === undefined) return [];
    return [{ path, text: `must not have an address that ${formatPath(own.path)} listens on` }];
  });
}

/** True when a connection to `address` would come back to Berth at `own`. */
function reaches(address: Address | undefined, own: Address): boolean {
  if (address === undefined || !overlaps(own, address)) return false;
  if ('socketPath' in own || 'socketPath' in address) return true;
  return own.host.toLowerCase() === address.host.toLowerCase() || isLoopback(address.host);
}

function checkIdlePercent({ pool }: PlacedProxy): readonly Conflict[] {
  const { MaxConnectionsPercent: all, MaxIdleConnectionsPercent: idle } = pool.value;
  if (all === undefined || idle === undefined || idle <= all) return [];
  const path = [...pool.path, 'MaxIdleConnectionsPercent'];
  return [{ path, text: `must be at most MaxConnectionsPercent (${all})` }];
}

function checkPriorities(proxy: PlacedProxy, parts: Parts): readonly Conflict[] {
  const endpoints = proxy.endpointNames.map(({ value }) => value).concat('default');
  // A secret that is wrong itself may well be the one that has the user.
  const users = proxy.secretArns.map(({ value }) => findSecret(value, parts)?.username);
  return proxy.priorities.flatMap(({ value: { UserName, Endpoint }, path }) => {
    const conflicts: Conflict[] = [];
    if (UserName !== undefined && !users.includes(undefined) && !users.includes(UserName)) {
      conflicts.push({
        path: [...path, 'UserName'],
        text: "must be a user of this proxy's secrets",
      });
    }
    if (Endpoint !== undefined && !endpoints.includes(Endpoint)) {
      conflicts.push({
        path: [...path, 'Endpoint'],
        text: 'must be default or the name of an endpoint of this proxy',
      });
    }
    return conflicts;
  });
}
