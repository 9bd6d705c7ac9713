/**
 * The rules that need two places of the file: names that must be unique, names that must exist,
 * addresses that cannot both be listened on. It works on what `salvage.ts` finds well-formed, so that
 * one message lists these problems beside those of the schema. Pure.
 */

import type { Address, EngineFamily, EngineName } from '../proxy/snapshot.ts';
import { formatPath, type Path } from './configuration-error.ts';
import { isLoopback, isPostgresSocket, mayShare, overlaps } from './listen-address.ts';
import {
  type Parts,
  type Placed,
  type PlacedCluster,
  type PlacedListener,
  type PlacedProxy,
  type SecretParts,
  salvage,
} from './salvage.ts';
import { isSecretArn, matchesArn } from './secret-arn.ts';

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
    ...repeated(parts.clusters.flatMap(({ name }) => name)),
    ...repeated(parts.clusters.flatMap(({ members }) => members)),
    ...parts.clusters.flatMap((cluster) => checkMembers(cluster, parts)),
    ...repeated(parts.secrets.map(({ name }) => name)),
    ...repeated(parts.userNames),
    ...repeated(parts.roleNames),
    ...repeated(parts.accessKeyIds),
    ...repeated(parts.proxies.flatMap(({ name }) => name)),
    ...repeated(endpoints),
    ...endpoints.filter(({ value }) => value === 'default').map(reservedName),
    ...duplicateAddresses(parts.listeners),
    ...parts.proxies.flatMap((proxy) => [
      ...checkFamily(proxy, parts),
      ...checkAuth(proxy, parts),
      ...checkDefaultAuth(proxy, parts),
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

function duplicateAddresses(listeners: readonly PlacedListener[]): readonly Conflict[] {
  return listeners.flatMap(({ value, path, family }, index) => {
    const taken = listeners.slice(0, index).find((earlier) => {
      const isSame = family !== undefined && earlier.family === family;
      return overlaps(earlier.value, value) && !(isSame && mayShare(earlier.value, value));
    });
    if (taken === undefined) return [];
    return [{ path, text: `must not be an address that ${formatPath(taken.path)} listens on` }];
  });
}

/** The engine family of each setting that not both have. */
const FAMILY_OF: Readonly<Record<string, EngineFamily>> = {
  Replication: 'POSTGRESQL',
  NotificationFanOut: 'POSTGRESQL',
  ServerVersion: 'MYSQL',
  SessionPinningFilters: 'MYSQL',
};

const ENGINES_OF: Readonly<Record<EngineFamily, readonly EngineName[]>> = {
  POSTGRESQL: ['postgres'],
  MYSQL: ['mysql', 'mariadb'],
};

const AUTH_TYPE_PREFIX: Readonly<Record<EngineFamily, string>> = {
  POSTGRESQL: 'POSTGRES_',
  MYSQL: 'MYSQL_',
};

const SOCKET_OF: Readonly<Record<EngineFamily, string>> = {
  POSTGRESQL:
    'must end with .s.PGSQL. and a port, where clients of POSTGRESQL look for a Unix socket',
  MYSQL: 'must end with .sock: clients of MYSQL are told the path of a Unix socket',
};

/** Everything that is in a proxy must be of its own engine family. */
function checkFamily(
  { family, targets, clusters, authTypes, ofFamilies, listeners }: PlacedProxy,
  { instanceEngines, clusters: all }: Parts,
): readonly Conflict[] {
  if (family === undefined) return [];
  const engines = ENGINES_OF[family];
  const strangers = targets.filter(({ value }) => {
    const engine = instanceEngines.get(value);
    return engine !== undefined && !engines.includes(engine);
  });
  const strangeClusters = clusters.filter(({ value }) => {
    const engine = clusterOf(value, all)?.engine;
    return engine !== undefined && !engines.includes(engine);
  });
  const prefix = AUTH_TYPE_PREFIX[family];
  const wrongTypes = authTypes.filter(({ value }) => !value.startsWith(prefix));
  const wrongSettings = ofFamilies.filter(({ name }) => FAMILY_OF[name] !== family);
  const wrongSockets = listeners.filter(
    ({ value }) =>
      'socketPath' in value && isPostgresSocket(value.socketPath) !== (family === 'POSTGRESQL'),
  );
  return [
    ...strangers.map(({ path }) => ({
      path,
      text: `must be a DB instance with Engine ${engines.join(' or ')}, as EngineFamily is ${family}`,
    })),
    ...strangeClusters.map(({ path }) => ({
      path,
      text: `must be a DB cluster with Engine ${engines.join(' or ')}, as EngineFamily is ${family}`,
    })),
    ...wrongTypes.map(({ path }) => ({
      path,
      text: `must begin with ${prefix}, as EngineFamily is ${family}`,
    })),
    ...wrongSettings.map(({ name, path }) => ({
      path,
      text: `is for EngineFamily ${FAMILY_OF[name]} only`,
      isComplete: true,
    })),
    ...wrongSockets.map(({ path }) => ({ path, text: SOCKET_OF[family] })),
  ];
}

function checkAuth({ secretArns }: PlacedProxy, parts: Parts): readonly Conflict[] {
  const users = new Set<string>();
  return secretArns.flatMap(({ value: arn, path }) => {
    const secret = findSecret(arn, parts);
    if (secret === undefined) {
      if (parts.hasSecretStore && isSecretArn(arn)) return [];
      return [{ path, text: parts.hasSecretStore ? NAME_OR_ARN : NAME_IN_FILE }];
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

/** Tokens go over TLS alone; and without them somebody else has to say who may log in. */
function checkDefaultAuth(
  { isIamDefault, noAuth, targets }: PlacedProxy,
  { plainInstances }: Parts,
): readonly Conflict[] {
  if (!isIamDefault.value) return noAuth.map((path) => ({ path, text: NO_AUTH, isComplete: true }));
  const { path } = isIamDefault;
  const isPlain = targets.some(({ value }) => plainInstances.has(value));
  return isPlain ? [{ path, text: IAM_WITHOUT_TLS, isComplete: true }] : [];
}

const NO_AUTH = 'must have 1 to 200 items, unless DefaultAuthScheme is IAM_AUTH';
const IAM_WITHOUT_TLS =
  'must not be IAM_AUTH for a target without TLS: its Tls.Mode is disable, or it is reached over a Unix socket';

const NAME_IN_FILE = 'must be the Name or the ARN of a secret in Secrets';
const NAME_OR_ARN = `${NAME_IN_FILE}, or the ARN of one that is kept elsewhere`;

function findSecret(arn: string, { secrets, owner }: Parts): SecretParts | undefined {
  return secrets.find(({ name }) => matchesArn(name.value, arn, owner));
}

function checkTargets(
  { targets, clusters, readOnly }: PlacedProxy,
  parts: Parts,
): readonly Conflict[] {
  const text = 'must be READ_WRITE, as the target of the proxy is no DB cluster';
  return [
    ...(targets.length === 0 ? [] : readOnly.map((path) => ({ path, text }))),
    ...targets.flatMap((target) => checkInstance(target, parts)),
    ...clusters.flatMap(({ value, path }) => {
      if (clusterOf(value, parts.clusters) !== undefined) return [];
      return [{ path, text: 'must be the name of a DB cluster in DBClusters' }];
    }),
  ];
}

function clusterOf(name: string, clusters: Parts['clusters']): PlacedCluster | undefined {
  return clusters.find((cluster) => cluster.name.some(({ value }) => value === name));
}

/** Of a cluster; all must be of its engine. */
function checkMembers({ engine, members }: PlacedCluster, parts: Parts): readonly Conflict[] {
  return members.flatMap((member) => {
    const own = parts.instanceEngines.get(member.value);
    const isStranger = engine !== undefined && own !== undefined && own !== engine;
    const text = `must be a DB instance with Engine ${engine}, as that of the cluster is`;
    return isStranger ? [{ path: member.path, text }] : checkInstance(member, parts);
  });
}

/** A DB instance that somebody connects to. */
function checkInstance(
  { value: identifier, path }: Placed<string>,
  parts: Parts,
): readonly Conflict[] {
  if (!parts.instanceNames.some(({ value }) => value === identifier)) {
    return [{ path, text: 'must be the name of a DB instance in DBInstances' }];
  }
  const address = parts.instanceAddresses.get(identifier);
  const own = parts.listeners.find(({ value }) => reaches(address, value));
  if (own === undefined) return [];
  return [{ path, text: `must not have an address that ${formatPath(own.path)} listens on` }];
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
  // A secret that is wrong itself, or not in the file, may well be the one that has the user.
  const users = proxy.isIamDefault.value
    ? [undefined]
    : proxy.secretArns.map(({ value }) => findSecret(value, parts)?.username);
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
