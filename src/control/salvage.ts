/**
 * What is well-formed in a file that may be wrong elsewhere: the parts that `cross-check.ts` compares,
 * each with its place. A part that is malformed is left out here, and reported by the schema.
 */

import { z } from 'zod';
import type { ClientPasswordAuthType } from '../credential/credentials.ts';
import { targetAddress } from '../proxy/settings.ts';
import type { Address, EngineFamily, EngineName } from '../proxy/snapshot.ts';
import type { Path } from './configuration-error.ts';
import {
  connectionPoolConfigSchema,
  dbInstanceSchema,
  dbProxySchema,
  engineSchema,
  fileSchema,
  passwordAuthTypeSchema,
  prioritySchema,
  secretSchema,
} from './schema.ts';
import type { SecretOwner } from './secret-arn.ts';

/** A value and where it stands. */
export interface Placed<Value> {
  readonly value: Value;
  readonly path: Path;
}

export interface SecretParts {
  readonly name: Placed<string>;
  readonly username: string | undefined;
}

export interface PlacedProxy {
  /** Undefined when it is none, or missing. */
  readonly family: EngineFamily | undefined;
  readonly authTypes: readonly Placed<ClientPasswordAuthType>[];
  /** What the file has of settings that only one engine family has, by their names. */
  readonly ofFamilies: readonly { readonly name: string; readonly path: Path }[];
  /** Its own and those of its endpoints. */
  readonly listeners: readonly Placed<Address>[];
  /** None or one. */
  readonly name: readonly Placed<string>[];
  /** Whether users may log in whom no entry of `Auth` names; where it is said, or would be. */
  readonly isIamDefault: Placed<boolean>;
  /** Where entries of `Auth` would be, if there are none. */
  readonly noAuth: readonly Path[];
  readonly secretArns: readonly Placed<string>[];
  readonly targets: readonly Placed<string>[];
  /** Of `DBClusters`. */
  readonly clusters: readonly Placed<string>[];
  /** Where endpoints say that they are for readers. */
  readonly readOnly: readonly Path[];
  readonly pool: Placed<{
    readonly MaxConnectionsPercent: number | undefined;
    readonly MaxIdleConnectionsPercent: number | undefined;
  }>;
  readonly priorities: readonly Placed<z.output<typeof prioritySchema>>[];
  /** Without the default endpoint. */
  readonly endpointNames: readonly Placed<string>[];
}

export interface PlacedCluster {
  readonly name: readonly Placed<string>[];
  readonly engine: EngineName | undefined;
  /** Of `DBInstances`. */
  readonly members: readonly Placed<string>[];
}

export interface Parts {
  readonly owner: SecretOwner;
  readonly instanceNames: readonly Placed<string>[];
  readonly instanceEngines: ReadonlyMap<string, EngineName>;
  readonly instanceAddresses: ReadonlyMap<string, Address>;
  /** Those to which there is never TLS. */
  readonly plainInstances: ReadonlySet<string>;
  readonly clusters: readonly PlacedCluster[];
  readonly secrets: readonly SecretParts[];
  /** Whether there may be secrets beside those of the file. */
  readonly hasSecretStore: boolean;
  readonly userNames: readonly Placed<string>[];
  readonly roleNames: readonly Placed<string>[];
  readonly accessKeyIds: readonly Placed<string>[];
  readonly proxies: readonly PlacedProxy[];
  readonly listeners: readonly PlacedListener[];
}

/** `family`: of the proxy that listens there; undefined for the API. */
export interface PlacedListener extends Placed<Address> {
  readonly family: EngineFamily | undefined;
}

const text = z.string();
const pool = connectionPoolConfigSchema.shape;

export function salvage(input: unknown): Parts {
  const file: Placed<unknown> = { value: input, path: [] };
  const instances = items(child(file, 'DBInstances'));
  const proxies = items(child(file, 'DBProxies'));
  const principals = items(child(file, 'Principals'));
  return {
    owner: {
      region: sound(fileSchema.shape.Region, child(file, 'Region'))[0]?.value ?? '',
      accountId: sound(fileSchema.shape.AccountId, child(file, 'AccountId'))[0]?.value ?? '',
    },
    instanceNames: instances.flatMap((each) => sound(text, child(each, 'DBInstanceIdentifier'))),
    instanceEngines: new Map(instances.flatMap(engineOf)),
    instanceAddresses: new Map(instances.flatMap(addressOf)),
    plainInstances: new Set(instances.flatMap(plainName)),
    clusters: items(child(file, 'DBClusters')).map(clusterParts),
    secrets: items(child(file, 'Secrets')).flatMap(secretParts),
    hasSecretStore: ['Api', 'SecretsManager'].some((key) => child(file, key).value !== undefined),
    userNames: principals.flatMap((each) => sound(text, child(each, 'UserName'))),
    roleNames: principals.flatMap((each) => sound(text, child(each, 'RoleName'))),
    accessKeyIds: principals
      .flatMap((each) => [...items(child(each, 'AccessKeys')), ...items(child(each, 'Sessions'))])
      .flatMap((key) => sound(text, child(key, 'AccessKeyId'))),
    proxies: proxies.map(proxyParts),
    listeners: [
      ...listenersOf([child(file, 'Api')], undefined),
      ...proxies.flatMap((proxy) =>
        listenersOf([proxy, ...endpointsOf(proxy)], proxyParts(proxy).family),
      ),
    ],
  };
}

function listenersOf(
  places: readonly Placed<unknown>[],
  family: EngineFamily | undefined,
): readonly PlacedListener[] {
  return places
    .flatMap((each) => sound(dbProxySchema.shape.Listen, child(each, 'Listen')))
    .map((listener) => ({ ...listener, family }));
}

function addressOf({ value }: Placed<unknown>): readonly (readonly [string, Address])[] {
  const instance = dbInstanceSchema.safeParse(value).data;
  if (instance === undefined) return [];
  return [[instance.DBInstanceIdentifier, targetAddress(instance)]];
}

function plainName({ value }: Placed<unknown>): readonly string[] {
  const instance = dbInstanceSchema.safeParse(value).data;
  if (instance === undefined) return [];
  const isPlain = instance.Tls.Mode === 'disable' || 'socketPath' in targetAddress(instance);
  return isPlain ? [instance.DBInstanceIdentifier] : [];
}

function engineOf(instance: Placed<unknown>): readonly (readonly [string, EngineName])[] {
  const [name] = sound(text, child(instance, 'DBInstanceIdentifier'));
  const [engine] = sound(engineSchema, child(instance, 'Engine'));
  return name === undefined || engine === undefined ? [] : [[name.value, engine.value]];
}

function clusterParts(cluster: Placed<unknown>): PlacedCluster {
  return {
    name: sound(text, child(cluster, 'DBClusterIdentifier')),
    engine: sound(engineSchema, child(cluster, 'Engine'))[0]?.value,
    members: items(child(cluster, 'Members')).flatMap((each) => sound(text, each)),
  };
}

function secretParts(secret: Placed<unknown>): readonly SecretParts[] {
  const { username } = secretSchema.shape.SecretString.unwrap().shape;
  const user = sound(username, child(child(secret, 'SecretString'), 'username'))[0]?.value;
  return sound(text, child(secret, 'Name')).map((name) => ({ name, username: user }));
}

function proxyParts(proxy: Placed<unknown>): PlacedProxy {
  const group = child(proxy, 'TargetGroup');
  const config = child(group, 'ConnectionPoolConfig');
  const { MaxConnectionsPercent, MaxIdleConnectionsPercent } = pool;
  const { EngineFamily, Listen } = dbProxySchema.shape;
  const auth = child(proxy, 'Auth');
  const scheme = child(proxy, 'DefaultAuthScheme');
  return {
    family: sound(EngineFamily, child(proxy, 'EngineFamily'))[0]?.value,
    authTypes: items(auth).flatMap((entry) =>
      sound(passwordAuthTypeSchema, child(entry, 'ClientPasswordAuthType')),
    ),
    ofFamilies: [
      ...settingsOf(proxy, ['Replication', 'NotificationFanOut', 'ServerVersion']),
      ...settingsOf(config, ['SessionPinningFilters']),
    ],
    listeners: [proxy, ...endpointsOf(proxy)].flatMap((each) =>
      sound(Listen, child(each, 'Listen')),
    ),
    name: sound(text, child(proxy, 'DBProxyName')),
    isIamDefault: { value: scheme.value === 'IAM_AUTH', path: scheme.path },
    noAuth: auth.value === undefined || isEmptyList(auth.value) ? [auth.path] : [],
    secretArns: items(auth).flatMap((entry) => sound(text, child(entry, 'SecretArn'))),
    targets: items(child(group, 'DBInstanceIdentifiers')).flatMap((each) => sound(text, each)),
    clusters: items(child(group, 'DBClusterIdentifiers')).flatMap((each) => sound(text, each)),
    pool: {
      value: {
        MaxConnectionsPercent: sound(
          MaxConnectionsPercent,
          child(config, 'MaxConnectionsPercent'),
        )[0]?.value,
        MaxIdleConnectionsPercent: sound(
          MaxIdleConnectionsPercent,
          child(config, 'MaxIdleConnectionsPercent'),
        )[0]?.value,
      },
      path: config.path,
    },
    priorities: items(child(config, 'Priorities')).flatMap((rule) => sound(prioritySchema, rule)),
    endpointNames: endpointsOf(proxy).flatMap((each) =>
      sound(text, child(each, 'DBProxyEndpointName')),
    ),
    readOnly: endpointsOf(proxy)
      .map((each) => child(each, 'TargetRole'))
      .filter(({ value }) => value === 'READ_ONLY')
      .map(({ path }) => path),
  };
}

/** Those of `names` that are there. */
function settingsOf(of: Placed<unknown>, names: readonly string[]) {
  return names.flatMap((name) => {
    const { value, path } = child(of, name);
    return value === undefined ? [] : [{ name, path }];
  });
}

function endpointsOf(proxy: Placed<unknown>): readonly Placed<unknown>[] {
  return items(child(proxy, 'Endpoints'));
}

function child({ value, path }: Placed<unknown>, key: string): Placed<unknown> {
  const isMapping = typeof value === 'object' && value !== null && Object.hasOwn(value, key);
  const inner = isMapping ? (value as Record<string, unknown>)[key] : undefined;
  return { value: inner, path: [...path, key] };
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function items({ value, path }: Placed<unknown>): readonly Placed<unknown>[] {
  if (!Array.isArray(value)) return [];
  return value.map((item: unknown, index) => ({ value: item, path: [...path, index] }));
}

/** The value as the schema reads it, or nothing. */
function sound<Schema extends z.ZodType>(
  schema: Schema,
  { value, path }: Placed<unknown>,
): readonly Placed<z.output<Schema>>[] {
  const parsed = schema.safeParse(value);
  return parsed.success ? [{ value: parsed.data, path }] : [];
}
