/**
 * The configuration file: read, checked as a whole, and turned into the snapshot that the data plane
 * takes. Either everything is right, or a `ConfigurationError` says everything that is wrong; there
 * is no half a configuration.
 */

import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import type { ClientPasswordAuthType } from '../credential/credentials.ts';
import { Secret } from '../credential/secret.ts';
import type {
  ClientTls,
  ConnectionPoolConfig,
  DBInstance,
  DBProxy,
  Endpoint,
  EndpointReaders,
  EngineName,
  SecretEntry,
  Snapshot,
  Target,
  TcpAddress,
  UserAuth,
} from '../proxy/snapshot.ts';
import { Authority } from './certificate/authority.ts';
import { ConfigurationError, formatPath, type Problem } from './configuration-error.ts';
import { crossCheck } from './cross-check.ts';
import { type Environment, substitute } from './environment.ts';
import { type Explained, explain, explainConflict, typeAt } from './explain.ts';
import { accessKeysOf } from './iam/access-keys.ts';
import { allowedSources, type Networks, toNetworks } from './networks.ts';
import { ownPasswordKey } from './own-password-key.ts';
import { connectionPoolConfigSchema, type File, fileSchema } from './schema.ts';
import { matchesArn, type SecretOwner } from './secret-arn.ts';
import type { AwsSecretsOptions } from './secrets/aws-source.ts';
import { readKeys } from './secrets/key-source.ts';
import type { Keyring } from './secrets/keyring.ts';
import { declaredId } from './state/arns.ts';
import { type AddressRange, parseRange } from './state/endpoint-addresses.ts';
import { hostNameOf, USUAL_DOMAIN } from './state/host-names.ts';
import { TlsFileReader, type TlsTexts } from './tls-files.ts';
import { readYaml } from './yaml-source.ts';

/** A thousand proxies fit well within it. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;

export interface ApiConfiguration {
  readonly listen: TcpAddress;
  readonly allowAnonymous: boolean;
  /** Where endpoints get their addresses that the API makes. */
  readonly endpointRange: AddressRange;
}

/** A cluster of the file. */
export interface DBCluster {
  readonly DBClusterIdentifier: string;
  readonly Engine: EngineName;
  /** Names of `instances`. */
  readonly Members: readonly string[];
}

export interface Configuration {
  readonly snapshot: Snapshot;
  /** All of them, also those that no proxy of the file has for a target. */
  readonly instances: readonly DBInstance[];
  readonly clusters: readonly DBCluster[];
  readonly owner: SecretOwner;
  /** The folder for what Berth itself has to keep; absolute. */
  readonly stateDirectory: string;
  /** Undefined: nothing listens for the management API, metrics and health. */
  readonly api: ApiConfiguration | undefined;
  readonly drainTimeoutMs: number;
  /** Names of proxies with `DebugLogging`. */
  readonly debugLoggedProxies: ReadonlySet<string>;
  /** What secrets are encrypted with that the API makes; undefined: with a key that Berth makes. */
  readonly secretKeys: Keyring | undefined;
  /** Paths of secrets by their names. */
  readonly secretFiles: ReadonlyMap<string, string>;
  /** Undefined: AWS is not asked for secrets. */
  readonly secretsManager: AwsSecretsOptions | undefined;
  /** Who signs the certificates of proxies; undefined when the file names one for all of them. */
  readonly ownTls: OwnTls | undefined;
  readonly networks: Networks;
  /** What the host names of endpoints end with. */
  readonly domain: string;
  /** The file says so: somebody sees to it that these names are found. */
  readonly isDomainGiven: boolean;
  /** Looked at when the process starts, and not again. */
  readonly mayBatchSends: boolean;
  /** The folder to keep the password key in; undefined when no proxy needs one. */
  readonly ownPasswordKey: string | undefined;
  /** What is right, but worth telling. */
  readonly warnings: readonly string[];
}

/**
 * Only where the API of `file` is, for those who want to ask it: nothing else of the file has to be
 * right, and no variable but those in `Api` is needed. Throws `ConfigurationError`, and nothing else.
 */
export async function loadApi(
  file: string,
  environment: Environment,
): Promise<ApiConfiguration | undefined> {
  return toApi((await loadPart(file, environment, { part: apiPart, schema: API_ONLY })).Api);
}

const API_ONLY = z.object({ Api: fileSchema.shape.Api });

async function loadPart<Part>(
  file: string,
  environment: Environment,
  of: { readonly part: (whole: unknown) => unknown; readonly schema: z.ZodType<Part> },
): Promise<Part> {
  const source = readYaml(await readText(file));
  if ('problems' in source) throw new ConfigurationError(file, source.problems);
  const part = of.part(source.value);
  const { value, fromEnvironment, problems } = substitute(part, source, environment, typeAt);
  const parsed = of.schema.safeParse(value);
  const explained = { value, source, fromEnvironment };
  // A variable that is not there breaks the shape as well; it is what to tell.
  if (problems.length > 0) throw new ConfigurationError(file, problems);
  if (!parsed.success) throw new ConfigurationError(file, explain(parsed.error.issues, explained));
  return parsed.data;
}

/**
 * Where the authority of `file` is kept; undefined when the file names a certificate, so that there is
 * none. Nothing else of the file has to be right. Throws `ConfigurationError`, and nothing else.
 */
export async function loadAuthorityPlace(
  file: string,
  environment: Environment,
): Promise<string | undefined> {
  const loaded = await loadPart(file, environment, { part: statePart, schema: STATE_ONLY });
  if (loaded.Tls.CertificateFile !== undefined) return undefined;
  return resolve(dirname(resolve(file)), loaded.StateDirectory);
}

const STATE_ONLY = z.object({
  StateDirectory: fileSchema.shape.StateDirectory,
  Tls: fileSchema.shape.Tls,
});

function statePart(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter(([name]) => name in STATE_ONLY.shape));
}

function apiPart(value: unknown): unknown {
  const hasApi = typeof value === 'object' && value !== null && 'Api' in value;
  if (!hasApi) return {};
  return { Api: value.Api };
}

interface OwnTls {
  /** Undefined until it has been read or made. */
  readonly authority: Authority | undefined;
  readonly settings: Omit<ClientTls, 'Certificate' | 'PrivateKey'>;
}

/** Reads and checks `file`. Throws `ConfigurationError`, and nothing else. */
export async function loadConfiguration(
  file: string,
  environment: Environment,
): Promise<Configuration> {
  return parseConfiguration(await readText(file), { file, environment });
}

/**
 * The configuration with the authority that signs what clients see: `before` if it is still good, or the
 * one that is kept in the state directory, or a new one. Nothing changes when the file names a certificate.
 */
export function withAuthority(configuration: Configuration, before?: Authority): Configuration {
  const { ownTls, stateDirectory, warnings } = configuration;
  if (ownTls === undefined) return configuration;
  const now = Date.now();
  const isGood = before?.isGoodFor(stateDirectory, now) === true;
  const authority = isGood ? before : Authority.keptIn(stateDirectory, now);
  return {
    ...configuration,
    ownTls: { ...ownTls, authority },
    warnings: authority.warning === undefined ? warnings : [...warnings, authority.warning],
  };
}

/** The configuration with the key that MySQL clients without TLS encrypt their passwords with. */
export async function withPasswordKey(configuration: Configuration): Promise<Configuration> {
  const { ownPasswordKey: directory, snapshot, warnings } = configuration;
  if (directory === undefined) return configuration;
  const { privateKey: PasswordKey, warning } = await ownPasswordKey(directory);
  return {
    ...configuration,
    ownPasswordKey: undefined,
    snapshot: { ...snapshot, PasswordKey },
    warnings: warning === undefined ? warnings : [...warnings, warning],
  };
}

/** Checks `text`, which is what `file` holds, and the files that it names. */
export function parseConfiguration(
  text: string,
  { file, environment }: { readonly file: string; readonly environment: Environment },
): Configuration {
  const source = readYaml(text);
  if ('problems' in source) throw new ConfigurationError(file, source.problems);
  if (source.value === undefined) throw refused(file, 'the file is empty');

  const { value, fromEnvironment, problems } = substitute(
    openSecretStrings(source.value),
    source,
    environment,
    typeAt,
  );
  const input = openSecretStrings(value);
  const parsed = fileSchema.safeParse(input);
  const found = [
    ...problems,
    ...findProblems(
      parsed.error?.issues ?? [],
      { value: input, source, fromEnvironment },
      problems,
    ),
  ];
  if (found.length > 0 || !parsed.success) throw new ConfigurationError(file, found);
  const folder = dirname(resolve(file));
  const reader = new TlsFileReader(folder, source);
  const configuration = toConfiguration(parsed.data, folder, reader);
  if (reader.problems.length > 0) throw new ConfigurationError(file, reader.problems);
  return configuration;
}

/** What the schema and the cross-check say, but for what already has a problem of its own. */
function findProblems(
  issues: Parameters<typeof explain>[0],
  file: Explained,
  earlier: readonly Problem[],
): readonly Problem[] {
  const known = new Set(earlier.map(({ path = [] }) => formatPath(path)));
  const conflicts = crossCheck(file.value).map((conflict) => explainConflict(conflict, file));
  return [...explain(issues, file), ...conflicts].filter(
    ({ path = [] }) => !known.has(formatPath(path)),
  );
}

async function readText(file: string): Promise<string> {
  let bytes: Uint8Array;
  try {
    bytes = await readFile(file);
  } catch (error) {
    throw refused(file, whyUnreadable(error));
  }
  if (bytes.length > FILE_BYTES_MAX) {
    throw refused(file, `the file is larger than ${FILE_BYTES_MAX / 1024 / 1024} MiB`);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw refused(file, 'the file is not UTF-8 text');
  }
}

function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'there is no such file';
    case 'EACCES':
    case 'EPERM':
      return 'the file cannot be read: permission denied';
    case 'EISDIR':
      return 'this is a folder, not a file';
    default:
      return `the file cannot be read${code === undefined ? '' : `: ${String(code)}`}`;
  }
}

function refused(file: string, text: string): ConfigurationError {
  return new ConfigurationError(file, [{ line: undefined, path: undefined, text }]);
}

/**
 * A `SecretString` may be JSON in text, as AWS Secrets Manager keeps it. It is opened before the
 * environment goes in, so that a password with a quote cannot break the JSON around it, and again
 * after, because all of it may come from a variable. Text that is no JSON stays, for the schema.
 */
function openSecretStrings(input: unknown): unknown {
  if (typeof input !== 'object' || input === null || !('Secrets' in input)) return input;
  const { Secrets } = input;
  if (!Array.isArray(Secrets)) return input;
  return { ...input, Secrets: Secrets.map(openSecretString) };
}

function openSecretString(secret: unknown): unknown {
  if (typeof secret !== 'object' || secret === null || !('SecretString' in secret)) return secret;
  if (typeof secret.SecretString !== 'string') return secret;
  try {
    const opened: unknown = JSON.parse(secret.SecretString);
    const isMapping = typeof opened === 'object' && opened !== null && !Array.isArray(opened);
    return isMapping ? { ...secret, SecretString: opened } : secret;
  } catch {
    return secret;
  }
}

function toConfiguration(file: File, folder: string, reader: TlsFileReader): Configuration {
  const instances = file.DBInstances.map((instance, index) => toInstance(instance, index, reader));
  const proxies = file.DBProxies.map((proxy) => toProxy(proxy, file, instances));
  const { CertificateFile, PrivateKeyFile, ClientCAFile: CAFile } = file.Tls;
  const texts = reader.read({ CertificateFile, PrivateKeyFile, CAFile }, ['Tls'], 'ClientCAFile');
  const settings = clientTlsSettings(file, texts);
  const { certificate: Certificate, privateKey: PrivateKey } = texts;
  const isGiven = Certificate !== undefined && PrivateKey !== undefined;
  const directory = resolve(folder, file.StateDirectory);
  const owner = { region: file.Region, accountId: file.AccountId };
  return {
    snapshot: {
      Tls: isGiven ? { ...settings, Certificate, PrivateKey } : undefined,
      PasswordKey: undefined,
      Owner: owner,
      AccessKeys: file.Principals.flatMap((principal) => accessKeysOf(principal, owner)),
      Secrets: file.Secrets.flatMap(toSecret),
      DBProxies: proxies,
    },
    debugLoggedProxies: new Set(
      file.DBProxies.filter((proxy) => proxy.DebugLogging).map(({ DBProxyName }) => DBProxyName),
    ),
    instances,
    clusters: file.DBClusters,
    owner,
    stateDirectory: directory,
    ownTls: isGiven ? undefined : { authority: undefined, settings },
    networks: toNetworks(file),
    domain: file.Domain ?? USUAL_DOMAIN,
    isDomainGiven: file.Domain !== undefined,
    ownPasswordKey: proxies.some(({ EngineFamily }) => EngineFamily === 'MYSQL')
      ? directory
      : undefined,
    warnings: reader.warnings,
    api: toApi(file.Api),
    drainTimeoutMs: file.DrainTimeout * 1000,
    secretKeys: readKeys(file.SecretStore, reader),
    mayBatchSends: file.SendBatching === 'AUTO',
    secretFiles: toSecretFiles(file, folder),
    secretsManager: toSecretsManager(file),
  };
}

function toApi(api: File['Api']): ApiConfiguration | undefined {
  const endpointRange = api && parseRange(api.EndpointRange);
  if (api === undefined || endpointRange === undefined) return undefined;
  return { listen: api.Listen, allowAnonymous: api.AllowAnonymous, endpointRange };
}

function clientTlsSettings({ Tls }: File, { ca }: TlsTexts) {
  const { ClientCertificate, MinProtocolVersion } = Tls;
  return { ClientCA: ca, ClientCertificate, MinProtocolVersion };
}

function toInstance(
  { Tls, ...instance }: File['DBInstances'][number],
  index: number,
  reader: TlsFileReader,
): DBInstance {
  const { Mode, MinProtocolVersion } = Tls;
  const texts = reader.read(Tls, ['DBInstances', index, 'Tls']);
  const { ca: CA, certificate: Certificate, privateKey: PrivateKey } = texts;
  return { ...instance, Tls: { Mode, CA, Certificate, PrivateKey, MinProtocolVersion } };
}

type FileProxy = File['DBProxies'][number];

function toSecret({ Name, SecretString }: File['Secrets'][number]): readonly SecretEntry[] {
  if (SecretString === undefined) return [];
  const { username, password } = SecretString;
  return [{ Name, username, password: new Secret(password) }];
}

function toSecretFiles(file: File, folder: string): ReadonlyMap<string, string> {
  const named = file.Secrets.flatMap(({ Name, SecretFile }) =>
    SecretFile === undefined ? [] : [[Name, resolve(folder, SecretFile)] as const],
  );
  return new Map(named);
}

function toSecretsManager({ SecretsManager, Region }: File): AwsSecretsOptions | undefined {
  if (SecretsManager === undefined) return undefined;
  const { Region: region = Region, Endpoint: endpoint, RefreshInterval } = SecretsManager;
  return { region, endpoint, intervalMs: RefreshInterval * 1000 };
}

function toProxy(proxy: FileProxy, file: File, instances: readonly DBInstance[]): DBProxy {
  const target = findTarget(proxy, file, instances);
  const first = checked(target.Members[0]);
  return {
    DBProxyName: proxy.DBProxyName,
    DBProxyId: declaredId('proxy', proxy.DBProxyName),
    EngineFamily: proxy.EngineFamily,
    ServerVersion: proxy.ServerVersion,
    RequireTLS: proxy.RequireTLS,
    IdleClientTimeout: proxy.IdleClientTimeout,
    MaxClientConnections: proxy.MaxClientConnections,
    Replication: proxy.Replication ?? 'passthrough',
    NotificationFanOut: proxy.NotificationFanOut ?? true,
    // Until when is kept in the state directory.
    DebugLoggingUntil: undefined,
    DefaultAuthScheme: proxy.DefaultAuthScheme,
    Auth: proxy.Auth.map((auth) => toAuth(auth, first, file)),
    Target: target,
    ConnectionPoolConfig: toPoolConfig(proxy.TargetGroup.ConnectionPoolConfig),
    Endpoints: toEndpoints(proxy, file),
    Tls: undefined,
  };
}

/** MariaDB itself has no caching_sha2_password, and not all of its clients do. */
export const USUAL_AUTH_TYPES: Readonly<Record<EngineName, ClientPasswordAuthType>> = {
  postgres: 'POSTGRES_SCRAM_SHA_256',
  mysql: 'MYSQL_CACHING_SHA2_PASSWORD',
  mariadb: 'MYSQL_NATIVE_PASSWORD',
};

function toAuth(auth: FileProxy['Auth'][number], target: DBInstance, file: File): UserAuth {
  const owner = { region: file.Region, accountId: file.AccountId };
  // One that is not in the file is in a store; see the cross-check.
  const secret = file.Secrets.find(({ Name }) => matchesArn(Name, auth.SecretArn, owner));
  const { ClientPasswordAuthType = USUAL_AUTH_TYPES[target.Engine] } = auth;
  return { ...auth, ClientPasswordAuthType, SecretArn: secret?.Name ?? auth.SecretArn };
}

function findTarget(
  { TargetGroup }: FileProxy,
  { DBClusters }: File,
  instances: readonly DBInstance[],
): Target {
  const { DBClusterIdentifiers, DBInstanceIdentifiers = [] } = TargetGroup;
  const DBClusterIdentifier = DBClusterIdentifiers?.[0];
  const cluster = DBClusters.find((each) => each.DBClusterIdentifier === DBClusterIdentifier);
  const names = cluster?.Members ?? DBInstanceIdentifiers;
  const Members = names.map((name) =>
    checked(instances.find((each) => each.DBInstanceIdentifier === name)),
  );
  return { DBClusterIdentifier, Members };
}

function toPoolConfig(
  config: FileProxy['TargetGroup']['ConnectionPoolConfig'],
): ConnectionPoolConfig {
  const { MaxConnectionsPercent, MaxIdleConnectionsPercent } = config;
  return {
    ...config,
    MaxIdleConnectionsPercent: MaxIdleConnectionsPercent ?? idleShare(MaxConnectionsPercent),
    InitQuery: config.InitQuery,
    Priorities: config.Priorities.map(({ UserName, ApplicationName, Endpoint, Priority }) => ({
      ...(UserName === undefined ? {} : { UserName }),
      ...(ApplicationName === undefined ? {} : { ApplicationName }),
      ...(Endpoint === undefined ? {} : { Endpoint }),
      Priority,
    })),
  };
}

/** `MaxIdleConnectionsPercent`, when nothing is said of it. */
export function idleShare(maxConnectionsPercent: number): number {
  return Math.ceil(maxConnectionsPercent / 2);
}

/** Of a proxy of which nothing is said. */
export const DEFAULT_POOL_CONFIG = toPoolConfig(connectionPoolConfigSchema.parse({}));

function toEndpoints(proxy: FileProxy, file: File): readonly Endpoint[] {
  const place = { region: file.Region, domain: file.Domain ?? USUAL_DOMAIN };
  const owner = { name: proxy.DBProxyName, id: declaredId('proxy', proxy.DBProxyName) };
  const networks = toNetworks(file);
  const shared = (Listen: Endpoint['Listen'], groups: readonly string[]) => ({
    Listen,
    AllowedSources: allowedSources(networks, groups),
  });
  const extra = proxy.Endpoints.map((endpoint) => {
    const { DBProxyEndpointName, Listen, VpcSecurityGroupIds } = endpoint;
    return {
      DBProxyEndpointName,
      HostName: hostNameOf(place, owner, DBProxyEndpointName),
      ...shared(Listen, VpcSecurityGroupIds),
      Readers: toReaders(endpoint),
    };
  });
  return [
    {
      DBProxyEndpointName: 'default',
      HostName: hostNameOf(place, owner),
      ...shared(proxy.Listen, proxy.VpcSecurityGroupIds),
      Readers: undefined,
    },
    ...extra,
  ];
}

function toReaders({
  TargetRole,
  MaxReplicaLag,
  ReaderFallback = 'NONE',
}: FileProxy['Endpoints'][number]): EndpointReaders | undefined {
  return TargetRole === 'READ_ONLY' ? { MaxReplicaLag, ReaderFallback } : undefined;
}

/** What the cross-check has already found to exist. */
function checked<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Error('the cross-check let a missing reference pass');
  return value;
}
