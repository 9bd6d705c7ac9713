/**
 * What the management API makes, as it is kept: one record per proxy, with its target group and its
 * endpoints, one per DB instance, one per secret, with all of its versions, and one per principal. Plain JSON, checked again
 * when it is read; the values of secrets and principals are encrypted. What the configuration file declares is shown to the
 * API in the same form, and never kept.
 */

import { z } from 'zod';
import { engineSchema, passwordAuthTypeSchema } from '../schema.ts';

/** What the API takes; `verify-ca` needs a file, so only the file has it. */
export const TLS_MODES = ['disable', 'prefer', 'require', 'verify-full'] as const;

const text = z.string();
const texts = z.array(text).readonly();
const time = z.iso.datetime();

const tag = z.strictObject({ Key: text, Value: text }).readonly();
const tags = z.array(tag).readonly();

const auth = z
  .strictObject({
    AuthScheme: z.literal('SECRETS'),
    /** As it was given; which secret it means is found out when the snapshot is made. */
    SecretArn: text,
    IAMAuth: z.enum(['DISABLED', 'REQUIRED']),
    /** Undefined: what is usual for the engine of the target. */
    ClientPasswordAuthType: passwordAuthTypeSchema.optional(),
    Description: text.optional(),
    UserName: text.optional(),
  })
  .readonly();

/** What is absent has its default. */
const poolConfig = z
  .strictObject({
    MaxConnectionsPercent: z.int().optional(),
    MaxIdleConnectionsPercent: z.int().optional(),
    ConnectionBorrowTimeout: z.int().optional(),
    SessionPinningFilters: z.array(z.literal('EXCLUDE_VARIABLE_SETS')).readonly().optional(),
    InitQuery: text.optional(),
  })
  .readonly();

const targetGroup = z
  .strictObject({
    id: text,
    config: poolConfig,
    /** Identifiers of DB instances; empty when the target is a cluster. */
    targets: texts,
    /** The `id` of the cluster that is the target. */
    clusterId: text.optional(),
    /** Undefined for what the file declares, here and below. */
    createdAt: time.optional(),
    updatedAt: time.optional(),
    tags,
  })
  .readonly();

const endpoint = z
  .strictObject({
    id: text,
    name: text,
    vpcSubnetIds: texts,
    vpcSecurityGroupIds: texts,
    /** `host:port`, or the path of a Unix socket. */
    listen: text,
    /** Absent: `READ_WRITE`. */
    readers: z
      .strictObject({
        MaxReplicaLag: z.int().optional(),
        ReaderFallback: z.enum(['NONE', 'WRITER']),
      })
      .readonly()
      .optional(),
    createdAt: time.optional(),
    tags,
  })
  .readonly();

const proxy = z
  .strictObject({
    kind: z.literal('proxy'),
    /** The tail of the ARN. */
    id: text,
    name: text,
    engineFamily: z.enum(['POSTGRESQL', 'MYSQL']),
    roleArn: text.optional(),
    vpcSubnetIds: texts,
    vpcSecurityGroupIds: texts,
    /** Undefined: NONE. */
    defaultAuthScheme: z.enum(['NONE', 'IAM_AUTH']).optional(),
    auth: z.array(auth).readonly(),
    requireTls: z.boolean(),
    idleClientTimeout: z.int(),
    /** When DebugLogging switches itself off, or has. */
    debugLoggingUntil: time.optional(),
    /** Where the default endpoint listens. */
    listen: text,
    createdAt: time.optional(),
    updatedAt: time.optional(),
    tags,
    targetGroup,
    endpoints: z.array(endpoint).readonly(),
  })
  .readonly();

const dbInstance = z
  .strictObject({
    kind: z.literal('db-instance'),
    /** `DbiResourceId`. */
    id: text,
    name: text,
    engine: engineSchema,
    instanceClass: text.optional(),
    address: text,
    port: z.int(),
    tlsMode: z.enum([...TLS_MODES, 'verify-ca']),
    /** The `id` of the cluster that it is a member of. */
    clusterId: text.optional(),
    createdAt: time.optional(),
    tags,
  })
  .readonly();

/** Who its members are is said by them; who is the writer, by their databases. */
const dbCluster = z
  .strictObject({
    kind: z.literal('db-cluster'),
    /** `DbClusterResourceId`. */
    id: text,
    name: text,
    engine: engineSchema,
    createdAt: time.optional(),
    tags,
  })
  .readonly();

/** Of a proxy that the file declares with DebugLogging, since when it does. */
const debugLogging = z
  .strictObject({
    kind: z.literal('debug-logging'),
    /** Of the proxy. */
    id: text,
    until: time,
  })
  .readonly();

const sealed = z.strictObject({ key: text, value: text }).readonly();

const secretVersion = z
  .strictObject({
    /** `VersionId`. */
    id: text,
    createdAt: time,
    /** `VersionStages`: each is at one version at most. */
    stages: texts,
    isBinary: z.boolean(),
    sealed,
  })
  .readonly();

const secret = z
  .strictObject({
    kind: z.literal('secret'),
    /** The tail of the ARN: the name, a hyphen and six characters. */
    id: text,
    name: text,
    description: text.optional(),
    /** Undefined for what the file declares. */
    createdAt: time.optional(),
    changedAt: time.optional(),
    /** When AWSCURRENT was last given to another version. */
    currentSince: time.optional(),
    /** Both or none: when it was deleted, and until when that can be undone. */
    deletedAt: time.optional(),
    deleteAfter: time.optional(),
    tags,
    /** The oldest first. */
    versions: z.array(secretVersion).readonly(),
  })
  .readonly();

const principal = z
  .strictObject({
    kind: z.literal('principal'),
    id: text,
    createdAt: time,
    /** JSON, as the configuration file has one. */
    sealed,
  })
  .readonly();

export const stateRecord = z.discriminatedUnion('kind', [
  proxy,
  dbInstance,
  dbCluster,
  secret,
  principal,
  debugLogging,
]);

export type Tag = z.output<typeof tag>;
export type AuthRecord = z.output<typeof auth>;
export type PoolConfigRecord = z.output<typeof poolConfig>;
export type EndpointRecord = z.output<typeof endpoint>;
export type ProxyRecord = z.output<typeof proxy>;
export type DBClusterRecord = z.output<typeof dbCluster>;
export type DBInstanceRecord = z.output<typeof dbInstance>;
export type SecretVersionRecord = z.output<typeof secretVersion>;
export type SecretRecord = z.output<typeof secret>;
export type PrincipalRecord = z.output<typeof principal>;
export type StateRecord = z.output<typeof stateRecord>;
