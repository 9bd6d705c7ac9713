/** What RDS operations answer: the shapes of the service model, out of records and what is observed. */

import type { PauseState } from '../../observe/descriptions.ts';
import type { MemberState } from '../../proxy/proxy-target.ts';
import { parseListenAddress } from '../listen-address.ts';
import type { SecretOwner } from '../secret-arn.ts';
import { arnOf } from '../state/arns.ts';
import { isDebugLogging } from '../state/debug-logging.ts';
import { poolSettings } from '../state/desired-state.ts';
import { ENGINE_FAMILIES } from '../state/engine-families.ts';
import type {
  DBClusterRecord,
  DBInstanceRecord,
  EndpointRecord,
  ProxyRecord,
} from '../state/records.ts';

/** What the data plane says of a proxy. */
export interface ProxyObservation {
  /** Names of the endpoints that listen. */
  readonly listening: ReadonlySet<string>;
  /** The DB instances of its target. */
  readonly targets: readonly MemberState[];
  readonly pause: PauseState;
}

export const DEFAULT_ENDPOINT = 'default';
export const DEFAULT_GROUP = 'default';

/** What answers need of desired state beside the record. */
export interface AnswerContext {
  readonly owner: SecretOwner;
  /** What clients may call an endpoint; `endpoint` is undefined for the default one. */
  hostNameOf(proxy: ProxyRecord, endpoint?: string): string;
  /** Whether clients should call what listens there by its host name. */
  isCalledByName(listen: string): boolean;
  targetsOf(proxy: ProxyRecord): readonly string[];
}

/**
 * The host name where somebody sees to it that it is found, or where the address has several, otherwise the address; with what else is
 * needed to connect when the port is not the engine's own.
 */
function endpointText(
  listen: string,
  proxy: ProxyRecord,
  context: AnswerContext,
  endpoint?: string,
): string {
  const address = parseListenAddress(listen);
  if (address === undefined || 'socketPath' in address) return listen;
  const isUsualPort = address.port === ENGINE_FAMILIES[proxy.engineFamily].port;
  if (!context.isCalledByName(listen)) return isUsualPort ? address.host : listen;
  const hostName = context.hostNameOf(proxy, endpoint);
  return isUsualPort ? hostName : `${hostName}:${address.port}`;
}

/** A proxy without a target has nothing to serve, and does not listen. */
function statusOf(
  proxy: ProxyRecord,
  endpoint: string,
  observation: ProxyObservation | undefined,
  context: AnswerContext,
): 'available' | 'incompatible-network' {
  const isOpen = observation?.listening.has(endpoint) ?? context.targetsOf(proxy).length === 0;
  return isOpen ? 'available' : 'incompatible-network';
}

export function dbProxyAnswer(
  proxy: ProxyRecord,
  context: AnswerContext,
  observation: ProxyObservation | undefined,
) {
  const { owner } = context;
  const { usualAuthType } = ENGINE_FAMILIES[proxy.engineFamily];
  return {
    DBProxyName: proxy.name,
    DBProxyArn: arnOf(owner, 'db-proxy', proxy.id),
    Status: proxyStatusOf(proxy, observation, context),
    EngineFamily: proxy.engineFamily,
    VpcSecurityGroupIds: [...proxy.vpcSecurityGroupIds],
    VpcSubnetIds: [...proxy.vpcSubnetIds],
    DefaultAuthScheme: proxy.defaultAuthScheme ?? 'NONE',
    Auth: proxy.auth.map((auth) => ({
      ...auth,
      ClientPasswordAuthType: auth.ClientPasswordAuthType ?? usualAuthType,
    })),
    RoleArn: proxy.roleArn,
    Endpoint: endpointText(proxy.listen, proxy, context),
    RequireTLS: proxy.requireTls,
    IdleClientTimeout: proxy.idleClientTimeout,
    DebugLogging: isDebugLogging(proxy.debugLoggingUntil),
    CreatedDate: dateOf(proxy.createdAt),
    UpdatedDate: dateOf(proxy.updatedAt),
    EndpointNetworkType: 'IPV4' as const,
    TargetConnectionNetworkType: 'IPV4' as const,
  };
}

type EndpointStatus = 'available' | 'incompatible-network' | 'deleting';
type ProxyStatus = EndpointStatus | 'suspending' | 'suspended';

function proxyStatusOf(
  proxy: ProxyRecord,
  observation: ProxyObservation | undefined,
  context: AnswerContext,
): ProxyStatus {
  switch (observation?.pause) {
    case 'PAUSING':
      return 'suspending';
    case 'PAUSED':
      return 'suspended';
    case 'RUNNING':
    case undefined:
      return statusOf(proxy, DEFAULT_ENDPOINT, observation, context);
  }
}

/** The default endpoint has the identifiers of the proxy. */
export function defaultEndpoint(proxy: ProxyRecord): EndpointRecord {
  const { id, listen, createdAt, vpcSubnetIds, vpcSecurityGroupIds } = proxy;
  return {
    id: `prx-endpoint-${id.replace(/^prx-/, '')}`,
    name: DEFAULT_ENDPOINT,
    vpcSubnetIds,
    vpcSecurityGroupIds,
    listen,
    ...(createdAt === undefined ? {} : { createdAt }),
    tags: [],
  };
}

export function dbProxyEndpointAnswer(
  proxy: ProxyRecord,
  endpoint: EndpointRecord,
  context: AnswerContext,
  observation: ProxyObservation | undefined,
) {
  const isDefault = endpoint.name === DEFAULT_ENDPOINT;
  const name = isDefault ? undefined : endpoint.name;
  return {
    DBProxyEndpointName: endpoint.name,
    DBProxyEndpointArn: arnOf(context.owner, 'db-proxy-endpoint', endpoint.id),
    DBProxyName: proxy.name,
    Status: statusOf(proxy, endpoint.name, observation, context) as EndpointStatus,
    VpcSecurityGroupIds: [...endpoint.vpcSecurityGroupIds],
    VpcSubnetIds: [...endpoint.vpcSubnetIds],
    Endpoint: endpointText(endpoint.listen, proxy, context, name),
    CreatedDate: dateOf(endpoint.createdAt),
    TargetRole: endpoint.readers === undefined ? ('READ_WRITE' as const) : ('READ_ONLY' as const),
    IsDefault: isDefault,
    EndpointNetworkType: 'IPV4' as const,
  };
}

export function targetGroupAnswer(proxy: ProxyRecord, owner: SecretOwner) {
  const { id, config, createdAt, updatedAt } = proxy.targetGroup;
  return {
    DBProxyName: proxy.name,
    TargetGroupName: DEFAULT_GROUP,
    TargetGroupArn: arnOf(owner, 'target-group', id),
    IsDefault: true,
    Status: 'available',
    ConnectionPoolConfig: poolSettings(config),
    CreatedDate: dateOf(createdAt),
    UpdatedDate: dateOf(updatedAt),
  };
}

/** `instance` is undefined when the file that declared it does not any more. */
export function targetAnswer(
  identifier: string,
  instance: DBInstanceRecord | undefined,
  owner: SecretOwner,
  { role: Role, health }: Pick<MemberState, 'role' | 'health'>,
) {
  const shared = {
    TargetArn: arnOf(owner, 'db', identifier),
    RdsResourceId: identifier,
    Type: 'RDS_INSTANCE' as const,
    Role,
  };
  if (instance === undefined) return { ...shared, TargetHealth: GONE };
  const { address: Endpoint, port: Port } = instance;
  return { ...shared, Endpoint, Port, TargetHealth: healthAnswer(health) };
}

/** A cluster that is a target; its members are targets of their own. */
export function trackedClusterAnswer(cluster: DBClusterRecord, owner: SecretOwner) {
  return {
    TargetArn: arnOf(owner, 'cluster', cluster.name),
    RdsResourceId: cluster.name,
    // As RDS has it: a cluster has no port.
    Port: 0,
    Type: 'TRACKED_CLUSTER' as const,
  };
}

/** Of a cluster. */
export function memberAnswer(
  instance: DBInstanceRecord,
  owner: SecretOwner,
  of: Pick<MemberState, 'role' | 'health'> & { readonly cluster: DBClusterRecord },
) {
  const { TargetHealth, ...shared } = targetAnswer(instance.name, instance, owner, of);
  return { ...shared, TrackedClusterId: of.cluster.name, TargetHealth };
}

export function dbClusterAnswer(
  cluster: DBClusterRecord,
  instances: readonly DBInstanceRecord[],
  owner: SecretOwner,
  writer: DBInstanceRecord | undefined,
) {
  return {
    DBClusterIdentifier: cluster.name,
    DBClusterArn: arnOf(owner, 'cluster', cluster.name),
    DbClusterResourceId: cluster.id,
    Engine: cluster.engine as string,
    Status: 'available' as 'available' | 'deleting',
    Endpoint: writer?.address,
    Port: writer?.port,
    DBClusterMembers: instances.map(({ name }) => ({
      DBInstanceIdentifier: name,
      IsClusterWriter: name === writer?.name,
    })),
    ClusterCreateTime: dateOf(cluster.createdAt),
    TagList: tagList(cluster.tags),
  };
}

const GONE = {
  State: 'UNAVAILABLE' as const,
  Reason: 'UNREACHABLE' as const,
  Description: 'The configuration file does not declare this DB instance any more',
};

export const REGISTERING = { state: 'REGISTERING' } as const;

const NOT_LISTENING: MemberState['health'] = {
  state: 'UNAVAILABLE',
  reason: 'PENDING_PROXY_CAPACITY',
  detail: 'The proxy cannot listen on the address of its default endpoint',
};

/** How the data plane sees a DB instance of the target; `role` is that of one that it has not seen. */
export function stateOf(
  target: string,
  role: MemberState['role'],
  observation: ProxyObservation | undefined,
): Pick<MemberState, 'role' | 'health'> {
  if (observation === undefined) return { role, health: NOT_LISTENING };
  const found = observation.targets.find((each) => each.target === target);
  return found ?? { role, health: REGISTERING };
}

function healthAnswer(health: MemberState['health']) {
  if (health.state !== 'UNAVAILABLE') return { State: health.state };
  return { State: health.state, Reason: health.reason, Description: health.detail };
}

export interface InstanceContext {
  readonly owner: SecretOwner;
  readonly clusters: readonly DBClusterRecord[];
}

export function dbInstanceAnswer(instance: DBInstanceRecord, { owner, clusters }: InstanceContext) {
  return {
    DBClusterIdentifier: clusters.find(({ id }) => id === instance.clusterId)?.name,
    DBInstanceIdentifier: instance.name,
    DBInstanceClass: instance.instanceClass,
    Engine: instance.engine,
    DBInstanceStatus: 'available' as 'available' | 'deleting',
    Endpoint: { Address: instance.address, Port: instance.port },
    InstanceCreateTime: dateOf(instance.createdAt),
    DbiResourceId: instance.id,
    DBInstanceArn: arnOf(owner, 'db', instance.name),
    TagList: tagList(instance.tags),
  };
}

export function tagList(tags: ProxyRecord['tags']) {
  return tags.map(({ Key, Value }) => ({ Key, Value }));
}

function dateOf(time: string | undefined): Date | undefined {
  return time === undefined ? undefined : new Date(time);
}
