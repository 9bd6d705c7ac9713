/**
 * Desired state as a whole: what the configuration file declares, and what the API has made. Names and
 * addresses are unique across both. What comes out is one snapshot for the data plane. A change of either
 * part is applied at once, by whoever is told of the new snapshot.
 */

import { type AccessKey, Principals } from '../../credential/principals.ts';
import type { DBInstance, DBProxy, Endpoint, Snapshot, UserAuth } from '../../proxy/snapshot.ts';
import { serverNames } from '../certificate/server-names.ts';
import {
  type Configuration,
  DEFAULT_POOL_CONFIG,
  idleShare,
  USUAL_AUTH_TYPES,
} from '../config-file.ts';
import { ConfigurationError, type Path } from '../configuration-error.ts';
import { accessKeysOf } from '../iam/access-keys.ts';
import { mayShare, overlaps, parseListenAddress } from '../listen-address.ts';
import { allowedSources, subnetRanges } from '../networks.ts';
import { dbProxySchema } from '../schema.ts';
import type { SecretSource } from '../secrets/polled-secrets.ts';
import { declaredId } from './arns.ts';
import { debugLoggingChanges } from './debug-logging.ts';
import { declaredCluster, declaredInstance, declaredProxy } from './declared.ts';
import type { AddressRange } from './endpoint-addresses.ts';
import type { EventJournal, ProxyEvent } from './event-journal.ts';
import { hostNameOf, type NamePlace, wildcardsOf } from './host-names.ts';
import { KnownSecrets, type SecretReader } from './known-secrets.ts';
import type {
  AuthRecord,
  DBClusterRecord,
  DBInstanceRecord,
  PoolConfigRecord,
  PrincipalRecord,
  ProxyRecord,
  SecretRecord,
} from './records.ts';
import type { Change, StateStore } from './state-store.ts';

/** `isDeclared`: by the file, which alone may change it. */
export interface Known<StoredRecord> {
  readonly record: StoredRecord;
  readonly isDeclared: boolean;
}

export type KnownProxy = Known<ProxyRecord>;
export type KnownInstance = Known<DBInstanceRecord>;
export type KnownCluster = Known<DBClusterRecord>;

/** Lists out of what is kept and what the file declares, for as long as both are what they were. */
interface Derived {
  readonly records: StateStore['records'];
  readonly configuration: Configuration;
  readonly declaredProxies: readonly ProxyRecord[];
  readonly storedProxies: readonly ProxyRecord[];
  readonly storedInstances: readonly DBInstanceRecord[];
  readonly proxies: readonly KnownProxy[];
  readonly storedClusters: readonly DBClusterRecord[];
  readonly instances: readonly KnownInstance[];
  readonly clusters: readonly KnownCluster[];
}

/** Of a proxy of which nothing is said. */
const MAX_CLIENT_CONNECTIONS = dbProxySchema.shape.MaxClientConnections.parse(undefined);

export class DesiredState {
  private readonly store: StateStore;
  private readonly knownSecrets: KnownSecrets;
  private readonly secretReader: SecretReader;
  private readonly journal: EventJournal;
  private readonly apply: (state: DesiredState) => void;
  private configuration: Configuration;
  private currentPrincipals = Principals.NONE;
  private derived: Derived | undefined = undefined;

  /**
   * Throws `ConfigurationError` when what `file` declares clashes with what the API has made. `apply` is
   * called after each change of the API, and must not throw.
   */
  constructor(options: {
    readonly store: StateStore;
    readonly file: string;
    readonly configuration: Configuration;
    readonly secretReader: SecretReader;
    readonly journal: EventJournal;
    readonly apply: (state: DesiredState) => void;
  }) {
    this.journal = options.journal;
    const { store, secretReader, configuration } = options;
    this.store = store;
    this.secretReader = secretReader;
    this.knownSecrets = new KnownSecrets(store, secretReader, configuration);
    this.apply = options.apply;
    this.configuration = configuration;
    this.check(options.file, configuration);
    this.use(configuration, this.declaredRecords);
  }

  /** Takes another configuration file. Throws `ConfigurationError` or `StateError`, and then nothing has changed. */
  declare(file: string, configuration: Configuration): void {
    this.check(file, configuration);
    const before = this.declaredRecords;
    this.keepDebugLogging(configuration);
    this.use(configuration, before);
  }

  private check(file: string, configuration: Configuration): void {
    const clashes = [
      ...findClashes(configuration, this.storedProxies, this.storedInstances, this.storedClusters),
      ...this.knownSecrets.clashesWith(configuration).map((name) => ({
        path: ['Secrets'],
        text: `${TAKEN} the secret ${name}`,
      })),
    ];
    if (clashes.length > 0) {
      const problems = clashes.map(({ path, text }) => ({ line: undefined, path, text }));
      throw new ConfigurationError(file, problems);
    }
  }

  private use(configuration: Configuration, before: readonly ProxyRecord[]): void {
    this.configuration = configuration;
    this.knownSecrets.declare(configuration);
    this.journal.changed(before, this.declaredRecords);
    this.currentPrincipals = new Principals(this.accessKeys);
  }

  /** Whether a certificate, or the authority that signs them, is near its end. */
  hasCertificatesToRenew(now: number): boolean {
    return this.configuration.ownTls?.authority?.hasToRenew(now) === true;
  }

  /** The same configuration with an authority that has been renewed. */
  renew(configuration: Configuration): void {
    this.configuration = configuration;
  }

  /** What has happened to proxies, the oldest first. */
  get events(): readonly ProxyEvent[] {
    return this.journal.all;
  }

  /** Those of the file; those that are kept, as long as the file has none. */
  get principals(): Principals {
    return this.currentPrincipals;
  }

  private get accessKeys(): readonly AccessKey[] {
    const { AccessKeys } = this.configuration.snapshot;
    if (AccessKeys.length > 0) return AccessKeys;
    return this.store.records.flatMap((record) =>
      record.kind === 'principal' ? this.accessKeysIn(record) : [],
    );
  }

  private accessKeysIn(record: PrincipalRecord): readonly AccessKey[] {
    const principal = this.secretReader.principal(record);
    return principal === undefined ? [] : accessKeysOf(principal, this.owner);
  }

  get owner(): Configuration['owner'] {
    return this.configuration.owner;
  }

  /** Where endpoints in these subnets get their addresses; none when there is no API to make any. */
  rangesOf(subnetIds: readonly string[]): readonly AddressRange[] {
    const { api, networks } = this.configuration;
    return api === undefined ? [] : subnetRanges(networks, subnetIds, api.endpointRange);
  }

  /** What clients may call an endpoint; `endpoint` is undefined for the default one. */
  hostNameOf(proxy: Pick<ProxyRecord, 'id' | 'name'>, endpoint?: string): string {
    return hostNameOf(this.namePlace, proxy, endpoint);
  }

  /**
   * Whether clients should call what listens at `listen` by its host name: they can be expected to find
   * it, or have to say whom of several they mean.
   */
  isCalledByName(listen: string): boolean {
    if (this.configuration.isDomainGiven) return true;
    const all = this.proxies.flatMap(({ record }) => [record, ...record.endpoints]);
    return all.filter((each) => each.listen === listen).length > 1;
  }

  /** PEM: who signs the certificates of proxies; undefined when the file names one for all of them. */
  get authorityCertificate(): string | undefined {
    return this.configuration.ownTls?.authority?.certificate;
  }

  get hasOwnProxies(): boolean {
    return this.storedProxies.length > 0;
  }

  /** Every request asks for some of it several times. */
  private get lists(): Derived {
    const { configuration, derived } = this;
    const { records } = this.store;
    if (derived?.records === records && derived.configuration === configuration) return derived;
    const declaredProxies = configuration.snapshot.DBProxies.map((proxy) =>
      declaredProxy(proxy, this.debugLoggingUntil(proxy.DBProxyName)),
    );
    const declaredInstances = configuration.instances.map((each) =>
      declaredInstance(each, configuration.clusters),
    );
    const declaredClusters = configuration.clusters.map(declaredCluster);
    const storedClusters = records.filter((record) => record.kind === 'db-cluster');
    const storedProxies = records.filter((record) => record.kind === 'proxy');
    const storedInstances = records.filter((record) => record.kind === 'db-instance');
    this.derived = {
      records,
      configuration,
      declaredProxies,
      storedProxies,
      storedInstances,
      proxies: known(declaredProxies, storedProxies),
      storedClusters,
      instances: known(declaredInstances, storedInstances),
      clusters: known(declaredClusters, storedClusters),
    };
    return this.derived;
  }

  private get declaredRecords(): readonly ProxyRecord[] {
    return this.lists.declaredProxies;
  }

  /** When the DebugLogging of a proxy of the file ends. */
  private debugLoggingUntil(name: string): string | undefined {
    const id = declaredId('proxy', name);
    const kept = this.store.records.filter((record) => record.kind === 'debug-logging');
    return kept.find((record) => record.id === id)?.until;
  }

  /** Keeps since when the file has DebugLogging. Throws `StateError`. */
  keepDebugLogging(configuration = this.configuration): void {
    const changes = debugLoggingChanges(configuration, this.store.records);
    if (changes.length > 0) this.store.commit(changes);
  }

  /** By name. */
  get proxies(): readonly KnownProxy[] {
    return this.lists.proxies;
  }

  /** By identifier. */
  get instances(): readonly KnownInstance[] {
    return this.lists.instances;
  }

  /** By name, with those that are deleted and can be restored. */
  get secrets(): readonly Known<SecretRecord>[] {
    return byName(this.knownSecrets.all);
  }

  /** By its name or its ARN. */
  findSecret(nameOrArn: string): Known<SecretRecord> | undefined {
    return this.knownSecrets.find(nameOrArn);
  }

  /** Where secrets are to be read that somebody else keeps, by the names that entries have. */
  get secretSources(): ReadonlyMap<string, SecretSource> {
    return this.knownSecrets.sourcesFor(this.snapshot.DBProxies);
  }

  /** Forgets the secrets whose time to be restored has passed. */
  forgetDeletedSecrets(): void {
    const gone = this.knownSecrets.forgotten;
    if (gone.length > 0) this.commit(...gone.map((remove) => ({ remove })));
  }

  /** Of proxies without a target there is nothing in it: they have nothing to serve. */
  get snapshot(): Snapshot {
    const made = this.storedProxies.flatMap((record) => this.toProxy(record));
    const all = [...this.declaredProxies, ...made];
    const names = new Set(all.map(({ DBProxyName }) => DBProxyName));
    this.configuration.ownTls?.authority?.keepOnly(names);
    return this.withSecrets(all);
  }

  /** The same of what the file declares. */
  get declaredSnapshot(): Snapshot {
    return this.withSecrets(this.declaredProxies);
  }

  private get declaredProxies(): readonly DBProxy[] {
    return this.configuration.snapshot.DBProxies.map((proxy) => ({
      ...proxy,
      DebugLoggingUntil: timeOf(this.debugLoggingUntil(proxy.DBProxyName)),
      Tls: this.tlsOf(declaredId('proxy', proxy.DBProxyName), proxy),
    }));
  }

  private withSecrets(DBProxies: readonly DBProxy[]): Snapshot {
    const { snapshot } = this.configuration;
    const Secrets = this.knownSecrets.entriesFor(DBProxies);
    return { ...snapshot, AccessKeys: this.accessKeys, Secrets, DBProxies };
  }

  /** Where the proxy at `index` of the snapshot comes from, for people. */
  placeOf(index: number): string {
    const { DBProxies } = this.configuration.snapshot;
    if (index < DBProxies.length) return `DBProxies[${index}]`;
    return `the DB proxy ${this.snapshot.DBProxies[index]?.DBProxyName}, made by the API`;
  }

  /** What was committed so far survives a crash of the machine. Rejects with `StateError`. */
  flushed(): Promise<void> {
    return this.store.flushed();
  }

  /**
   * Kept, then applied. Throws `StateError`, and then nothing has changed. Who acknowledges the change, or
   * shows what has become of it, waits for `flushed` first.
   */
  commit(...changes: readonly Change[]): void {
    const before = this.storedProxies;
    this.store.commit(changes);
    this.journal.changed(before, this.storedProxies);
    this.currentPrincipals = new Principals(this.accessKeys);
    this.apply(this);
  }

  private get storedProxies(): readonly ProxyRecord[] {
    return this.lists.storedProxies;
  }

  /** By identifier. */
  get knownClusters(): readonly KnownCluster[] {
    return this.lists.clusters;
  }

  /** By identifier. */
  get clusters(): readonly DBClusterRecord[] {
    return this.knownClusters.map(({ record }) => record);
  }

  private get storedClusters(): readonly DBClusterRecord[] {
    return this.lists.storedClusters;
  }

  membersOf(clusterId: string): readonly DBInstanceRecord[] {
    const all = this.instances.map(({ record }) => record);
    return all.filter((instance) => instance.clusterId === clusterId);
  }

  /** Identifiers of the DB instances that a proxy is for. */
  targetsOf({ targetGroup: { targets, clusterId } }: ProxyRecord): readonly string[] {
    return clusterId === undefined ? targets : this.membersOf(clusterId).map(({ name }) => name);
  }

  private get storedInstances(): readonly DBInstanceRecord[] {
    return this.lists.storedInstances;
  }

  private toProxy(record: ProxyRecord): readonly DBProxy[] {
    const Members = this.targetsOf(record).flatMap((name) => this.toInstance(name));
    const [first] = Members;
    if (first === undefined) return [];
    const { config, clusterId } = record.targetGroup;
    const DBClusterIdentifier = this.clusters.find(({ id }) => id === clusterId)?.name;
    const Endpoints = this.toEndpoints(record);
    return [
      {
        DBProxyName: record.name,
        DBProxyId: record.id,
        EngineFamily: record.engineFamily,
        ServerVersion: undefined,
        RequireTLS: record.requireTls,
        IdleClientTimeout: record.idleClientTimeout,
        MaxClientConnections: MAX_CLIENT_CONNECTIONS,
        Replication: 'passthrough',
        NotificationFanOut: true,
        DebugLoggingUntil: timeOf(record.debugLoggingUntil),
        DefaultAuthScheme: record.defaultAuthScheme ?? 'NONE',
        Auth: record.auth.map((auth) => this.toAuth(auth, first)),
        Target: { DBClusterIdentifier, Members },
        ConnectionPoolConfig: { ...DEFAULT_POOL_CONFIG, ...poolSettings(config) },
        Endpoints,
        Tls: this.tlsOf(record.id, { DBProxyName: record.name, Endpoints }),
      },
    ];
  }

  private toEndpoints(record: ProxyRecord): readonly Endpoint[] {
    const { networks } = this.configuration;
    const { listen, vpcSecurityGroupIds } = record;
    const first = { name: undefined, listen, vpcSecurityGroupIds, readers: undefined };
    const all = [first, ...record.endpoints];
    return all.map((endpoint) => ({
      DBProxyEndpointName: endpoint.name ?? 'default',
      Listen: addressOf(endpoint.listen),
      HostName: hostNameOf(this.namePlace, record, endpoint.name),
      AllowedSources: allowedSources(networks, endpoint.vpcSecurityGroupIds),
      Readers: endpoint.readers && { MaxReplicaLag: undefined, ...endpoint.readers },
    }));
  }

  private get namePlace(): NamePlace {
    const { owner, domain } = this.configuration;
    return { region: owner.region, domain };
  }

  /** A certificate of the proxy's own, unless the file names one for all. */
  private tlsOf(id: string, proxy: Pick<DBProxy, 'DBProxyName' | 'Endpoints'>): DBProxy['Tls'] {
    const { ownTls } = this.configuration;
    if (ownTls?.authority === undefined) return undefined;
    const names = serverNames(wildcardsOf(this.namePlace, { id }), proxy.Endpoints);
    const issued = ownTls.authority.issue(proxy.DBProxyName, names, Date.now());
    return {
      ...ownTls.settings,
      Certificate: issued.certificate,
      PrivateKey: issued.privateKey,
    };
  }

  /** A secret that does not exist stays as it was written: whoever reads it finds none. */
  private toAuth({ AuthScheme, SecretArn, ...auth }: AuthRecord, { Engine }: DBInstance): UserAuth {
    const name = this.knownSecrets.declaredName(SecretArn) ?? SecretArn;
    const { IAMAuth, ClientPasswordAuthType = USUAL_AUTH_TYPES[Engine] } = auth;
    return { AuthScheme, IAMAuth, ClientPasswordAuthType, SecretArn: name };
  }

  private toInstance(name: string): readonly DBInstance[] {
    const declared = this.configuration.instances.find(
      (each) => each.DBInstanceIdentifier === name,
    );
    if (declared !== undefined) return [declared];
    const stored = this.storedInstances.find((record) => record.name === name);
    return stored === undefined ? [] : [instanceOf(stored)];
  }
}

/** What RDS Proxy has for a target group, complete. */
export function poolSettings(config: PoolConfigRecord) {
  const usual = DEFAULT_POOL_CONFIG;
  const { MaxConnectionsPercent = usual.MaxConnectionsPercent } = config;
  return {
    MaxConnectionsPercent,
    MaxIdleConnectionsPercent: config.MaxIdleConnectionsPercent ?? idleShare(MaxConnectionsPercent),
    ConnectionBorrowTimeout: config.ConnectionBorrowTimeout ?? usual.ConnectionBorrowTimeout,
    SessionPinningFilters: [...(config.SessionPinningFilters ?? [])],
    InitQuery: config.InitQuery,
  };
}

function instanceOf(record: DBInstanceRecord): DBInstance {
  const { address: Address, port: Port, tlsMode: Mode } = record;
  const nothing = { CA: undefined, Certificate: undefined, PrivateKey: undefined };
  return {
    DBInstanceIdentifier: record.name,
    Engine: record.engine,
    Endpoint: { Address, Port },
    Tls: { Mode, ...nothing, MinProtocolVersion: 'TLSv1.2' },
  };
}

function known<StoredRecord extends { readonly name: string }>(
  declared: readonly StoredRecord[],
  stored: readonly StoredRecord[],
): readonly Known<StoredRecord>[] {
  return byName([
    ...declared.map((record) => ({ record, isDeclared: true })),
    ...stored.map((record) => ({ record, isDeclared: false })),
  ]);
}

function byName<StoredRecord extends { readonly name: string }>(
  items: readonly Known<StoredRecord>[],
): readonly Known<StoredRecord>[] {
  return items.toSorted((a, b) => (a.record.name < b.record.name ? -1 : 1));
}

function timeOf(iso: string | undefined): number | undefined {
  return iso === undefined ? undefined : Date.parse(iso);
}

/** Of a record, so it has been found to be one. */
function addressOf(listen: string) {
  const address = parseListenAddress(listen);
  if (address === undefined) throw new Error('a record has an address that is none');
  return address;
}

const TAKEN = 'must not be what the management API has given to';

function* findClashes(
  { snapshot, instances, clusters }: Configuration,
  storedProxies: readonly ProxyRecord[],
  storedInstances: readonly DBInstanceRecord[],
  storedClusters: readonly DBClusterRecord[],
): Generator<{ readonly path: Path; readonly text: string }> {
  const isProxy = new Set(storedProxies.map(({ name }) => name));
  const isInstance = new Set(storedInstances.map(({ name }) => name));
  const endpoints = storedProxies.flatMap((proxy) => [
    {
      name: `the proxy ${proxy.name}`,
      endpoint: undefined,
      listen: addressOf(proxy.listen),
      family: proxy.engineFamily,
    },
    ...proxy.endpoints.map(({ name, listen }) => ({
      name: `the endpoint ${name}`,
      endpoint: name,
      listen: addressOf(listen),
      family: proxy.engineFamily,
    })),
  ]);
  for (const [index, { DBInstanceIdentifier: name }] of instances.entries()) {
    if (!isInstance.has(name)) continue;
    yield { path: ['DBInstances', index], text: `${TAKEN} the DB instance ${name}` };
  }
  const isCluster = new Set(storedClusters.map(({ name }) => name));
  for (const [index, { DBClusterIdentifier: name }] of clusters.entries()) {
    if (!isCluster.has(name)) continue;
    yield { path: ['DBClusters', index], text: `${TAKEN} the DB cluster ${name}` };
  }
  for (const [index, proxy] of snapshot.DBProxies.entries()) {
    const path = ['DBProxies', index];
    if (isProxy.has(proxy.DBProxyName)) {
      yield { path, text: `${TAKEN} the proxy ${proxy.DBProxyName}` };
    }
    for (const { DBProxyEndpointName, Listen } of proxy.Endpoints) {
      const same = endpoints.find(({ endpoint }) => endpoint === DBProxyEndpointName);
      const near = endpoints.find(({ listen, family }) => {
        const isShared = family === proxy.EngineFamily && mayShare(listen, Listen);
        return overlaps(listen, Listen) && !isShared;
      });
      if (same !== undefined) yield { path, text: `has a name that ${same.name} has, too` };
      if (near !== undefined) yield { path, text: `listens where ${near.name} does, too` };
    }
  }
}
