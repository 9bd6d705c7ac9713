/**
 * The shape of the configuration file: every key, its type, range and default. Names are those of
 * the RDS API; the extensions are marked. Keys that are not here are refused, so what comes out of
 * this schema is what the proxy does. What depends on two places of the file is in `cross-check.ts`.
 *
 * Each text is what a person reads after the path: "must be 1 to 100". `explain.ts` adds the rest.
 */

import { isIPv6 } from 'node:net';
import { z } from 'zod';
import { parseSourceRange } from '../base/source-ranges.ts';
import { targetAddress } from '../proxy/settings.ts';
import type { Address, EngineName } from '../proxy/snapshot.ts';
import {
  isHost,
  isLoopback,
  isTooLong,
  parseListenAddress,
  parseTcpAddress,
  SOCKET_PATH_MAX,
} from './listen-address.ts';
import { parseRange } from './state/endpoint-addresses.ts';

/** The RDS API's own rule for the names of proxies, endpoints and target groups. */
const NAME = /^[a-zA-Z](?:-?[a-zA-Z0-9]+)*$/;
const DAY_S = 86_400;

function integer(min: number, max: number) {
  const range = `must be ${min} to ${max}`;
  const error = (issue: { readonly code?: string }) =>
    issue.code === 'invalid_type' ? `must be a whole number, ${min} to ${max}` : range;
  return z.int({ error }).min(min, { error: range }).max(max, { error: range });
}

function text(what: string, max: number) {
  const error = `must be ${what}`;
  return z
    .string({ error })
    .min(1, { error: 'must not be empty' })
    .max(max, {
      error: `must be at most ${max} characters`,
    });
}

function name() {
  const error =
    'must be 1 to 63 letters, digits and single hyphens, beginning with a letter and not ending with a hyphen';
  return z.string({ error }).max(63, { error }).regex(NAME, { error });
}

/** One of `values`. `unsupported` says why RDS's other values are refused. */
function oneOf<const Value extends string>(
  values: readonly Value[],
  unsupported: Readonly<Record<string, string>> = {},
) {
  return z.enum(values, {
    error: ({ input }) => {
      const why = typeof input === 'string' ? unsupported[input] : undefined;
      const choice = values.length === 1 ? 'must be' : 'must be one of';
      return `${choice} ${values.join(', ')}${why === undefined ? '' : ` (${why})`}`;
    },
  });
}

function listOf<Item extends z.ZodType>(item: Item, min: number, max: number) {
  const range = min === max ? `must have exactly ${min} item` : `must have ${min} to ${max} items`;
  return z
    .array(item, { error: 'must be a list' })
    .min(min, { error: range })
    .max(max, { error: range });
}

function mapping<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.strictObject(shape, {
    error: ({ code }) => (code === 'invalid_type' ? 'must be a mapping' : undefined),
  });
}

function flag() {
  return z.boolean({ error: 'must be true or false' });
}

const LISTEN =
  'must be host:port or the path of a Unix socket, for example 127.0.0.1:6432, "[::1]:6432", /run/berth/.s.PGSQL.6432 or, for MYSQL, /run/berth/mysql.sock';
const LISTEN_API =
  'must be host:port, for example 127.0.0.1:6432 or "[::1]:6432"; the API listens on no Unix socket';
const SOCKET_PATH_TOO_LONG = `must be shorter: a Unix socket's path has at most ${SOCKET_PATH_MAX} bytes`;

/** What `parse` makes of the text, which is refused with `message` when that is nothing. */
function listenOn<Parsed extends Address>(
  parse: (text: string) => Parsed | undefined,
  message: string,
) {
  return z.string({ error: message }).transform((value, context): Parsed => {
    const parsed = parse(value);
    if (parsed !== undefined) return parsed;
    context.addIssue({ code: 'custom', message });
    return z.NEVER;
  });
}

const listen = listenOn(parseListenAddress, LISTEN).refine(
  (parsed) => !('socketPath' in parsed) || !isTooLong(parsed),
  { error: SOCKET_PATH_TOO_LONG },
);

const address = text(
  'a host name, an IP address or, for a Unix socket, its folder or (MySQL) its path',
  253,
).refine((value) => value.startsWith('/') || isHost(value) || isIPv6(value), {
  error:
    'must be a host name, an IP address without brackets or, for a Unix socket, its folder or (MySQL) its path; the port is a setting of its own',
});

const endpointAddress = mapping({ Address: address, Port: integer(1, 65_535).optional() });

const RANGE = 'must be an IPv4 range such as 127.1.0.0/16, from /8 to /30';

const SOURCE_RANGE = 'must be a range such as 10.0.0.0/8 or "fd00::/8"';

/** An extension. */
const subnetSchema = mapping({
  SubnetId: text('text', 255),
  CidrBlock: z
    .string({ error: RANGE })
    .refine((value) => parseRange(value) !== undefined, { error: RANGE }),
});

/** An extension. */
const securityGroupSchema = mapping({
  GroupId: text('text', 255),
  CidrIps: listOf(
    z
      .string({ error: SOURCE_RANGE })
      .refine((value) => parseSourceRange(value) !== undefined, { error: SOURCE_RANGE }),
    0,
    1000,
  ),
});

const groupIds = listOf(text('the GroupId of a security group', 255), 0, 100).default([]);

const api = mapping({
  Listen: listenOn(parseTcpAddress, LISTEN_API),
  AllowAnonymous: flag().default(false),
  EndpointRange: z
    .string({ error: RANGE })
    .refine((value) => parseRange(value) !== undefined, { error: RANGE })
    .default('127.1.0.0/16'),
}).refine(({ Listen, AllowAnonymous }) => !AllowAnonymous || isLoopback(Listen.host), {
  path: ['AllowAnonymous'],
  error: 'may be true only when Listen is a loopback address, such as 127.0.0.1',
});

function file() {
  return text('the path of a file', 4096);
}

/** A certificate is of no use without its key, and a key of none without its certificate. */
function hasBothOrNone(tls: {
  readonly CertificateFile?: string | undefined;
  readonly PrivateKeyFile?: string | undefined;
}): boolean {
  return (tls.CertificateFile === undefined) === (tls.PrivateKeyFile === undefined);
}

const BOTH_OR_NONE = 'must have both CertificateFile and PrivateKeyFile, or neither';

/** An extension. */
const clientTls = mapping({
  CertificateFile: file().optional(),
  PrivateKeyFile: file().optional(),
  ClientCAFile: file().optional(),
  ClientCertificate: oneOf(['OPTIONAL', 'REQUIRED']).default('OPTIONAL'),
  MinProtocolVersion: oneOf(['TLSv1.2', 'TLSv1.3'], {
    TLSv1: 'TLS 1.0 is not safe; only towards databases it may be allowed',
    'TLSv1.1': 'TLS 1.1 is not safe; only towards databases it may be allowed',
  }).default('TLSv1.2'),
})
  .refine(hasBothOrNone, { error: BOTH_OR_NONE })
  .refine((tls) => tls.ClientCertificate !== 'REQUIRED' || tls.ClientCAFile !== undefined, {
    path: ['ClientCertificate'],
    error: 'may be REQUIRED only with a ClientCAFile',
  });

const TLS_MODE = oneOf(['disable', 'prefer', 'require', 'verify-ca', 'verify-full'], {
  allow: 'what begins in plain text may as well stay so: use prefer',
});

/** The same modes by the names that MySQL's clients have for them. */
const MYSQL_MODES: Readonly<Record<string, z.output<typeof TLS_MODE>>> = {
  DISABLED: 'disable',
  PREFERRED: 'prefer',
  REQUIRED: 'require',
  VERIFY_CA: 'verify-ca',
  VERIFY_IDENTITY: 'verify-full',
};

function postgresMode(mode: unknown): unknown {
  return (typeof mode === 'string' ? MYSQL_MODES[mode] : undefined) ?? mode;
}

/** An extension. */
const databaseTls = mapping({
  Mode: z.preprocess(postgresMode, TLS_MODE).default('prefer'),
  CAFile: file().optional(),
  CertificateFile: file().optional(),
  PrivateKeyFile: file().optional(),
  MinProtocolVersion: oneOf(['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3']).default('TLSv1.2'),
})
  .refine(hasBothOrNone, { error: BOTH_OR_NONE })
  .refine(({ Mode, CAFile }) => Mode !== 'verify-ca' || CAFile !== undefined, {
    path: ['Mode'],
    error: 'may be verify-ca only with a CAFile',
  })
  .refine(({ Mode, CAFile }) => CAFile === undefined || (Mode !== 'disable' && Mode !== 'prefer'), {
    path: ['CAFile'],
    error: 'has no effect unless Mode is require, verify-ca or verify-full',
  })
  .refine(({ Mode, CertificateFile }) => Mode !== 'disable' || CertificateFile === undefined, {
    path: ['CertificateFile'],
    error: 'has no effect when Mode is disable',
  });

export const ENGINE_PORTS: Readonly<Record<EngineName, number>> = {
  postgres: 5432,
  mysql: 3306,
  mariadb: 3306,
};

export const engineSchema = oneOf(['postgres', 'mysql', 'mariadb']);

export const dbInstanceSchema = mapping({
  DBInstanceIdentifier: name(),
  Engine: engineSchema,
  Endpoint: endpointAddress,
  Tls: databaseTls.prefault({}),
})
  .transform(({ Endpoint: { Address, Port }, ...instance }) => ({
    ...instance,
    Endpoint: { Address, Port: Port ?? ENGINE_PORTS[instance.Engine] },
  }))
  .refine(
    (instance) => {
      const target = targetAddress(instance);
      return !('socketPath' in target) || !isTooLong(target);
    },
    { path: ['Endpoint', 'Address'], error: SOCKET_PATH_TOO_LONG },
  );

/** Who of its members is the writer, the databases say themselves. */
export const dbClusterSchema = mapping({
  DBClusterIdentifier: name(),
  Engine: engineSchema,
  Members: listOf(name(), 1, 100),
});

const IAM_NAME = 'must be 1 to 64 letters, digits and +=,.@_-';
const ACCESS_KEY_ID = 'must be 4 to 128 letters and digits';
const ACTION = 'must be * or a service and an action, such as rds-db:connect or rds:Describe*';
const ARN = 'must be * or an ARN, in which * and ? stand for any text and any character';

function iamName() {
  return z.string({ error: 'must be text' }).regex(/^[\w+=,.@-]{1,64}$/, { error: IAM_NAME });
}

const accessKey = {
  AccessKeyId: z.string({ error: 'must be text' }).regex(/^\w{4,128}$/, { error: ACCESS_KEY_ID }),
  SecretAccessKey: text('text', 256),
};

const sessionSchema = mapping({
  RoleSessionName: iamName(),
  ...accessKey,
  SessionToken: text('text', 4096),
  Expiration: z.iso.datetime({ error: 'must be a time such as 2027-01-31T12:00:00Z' }).optional(),
});

const PATTERN_LENGTH_MAX = 2048;
const PATTERNS_MAX = 1000;

/** One pattern, or a list of them. */
function patterns(pattern: RegExp, error: string) {
  const isPattern = (each: unknown) =>
    typeof each === 'string' && each.length <= PATTERN_LENGTH_MAX && pattern.test(each);
  return z.unknown().transform((value, context): readonly string[] => {
    const list: readonly unknown[] = Array.isArray(value) ? value : [value];
    const found = list.filter(isPattern);
    if (found.length === list.length && list.length >= 1 && list.length <= PATTERNS_MAX)
      return found.map(String);
    context.addIssue({ code: 'custom', message: `${error}; or a list of these` });
    return z.NEVER;
  });
}

/** As IAM has it, but for what is refused: conditions, variables, NotAction and NotResource. */
const policyDocumentSchema = mapping({
  Version: oneOf(['2012-10-17', '2008-10-17']).optional(),
  Id: text('text', 256).optional(),
  Statement: listOf(
    mapping({
      Sid: text('text', 256).optional(),
      Effect: oneOf(['Allow', 'Deny']),
      Action: patterns(/^(?:\*|[a-zA-Z0-9-]+:[a-zA-Z0-9*?]+)$/, ACTION),
      Resource: patterns(/^(?:\*|arn(?::[^:$]*){4}:[^$]*)$/, ARN),
    }),
    1,
    1000,
  ),
});

/** An extension. */
export const principalSchema = mapping({
  UserName: iamName().optional(),
  RoleName: iamName().optional(),
  AccessKeys: listOf(mapping(accessKey), 0, 100).default([]),
  Sessions: listOf(sessionSchema, 0, 1000).default([]),
  Policies: listOf(
    mapping({ PolicyName: iamName(), PolicyDocument: policyDocumentSchema }),
    0,
    100,
  ).default([]),
})
  .refine(({ UserName, RoleName }) => (UserName === undefined) !== (RoleName === undefined), {
    error: 'must have either a UserName or a RoleName',
  })
  .refine(({ RoleName, AccessKeys }) => RoleName === undefined || AccessKeys.length === 0, {
    path: ['AccessKeys'],
    error: 'are of users; a role has Sessions',
  })
  .refine(({ UserName, Sessions }) => UserName === undefined || Sessions.length === 0, {
    path: ['Sessions'],
    error: 'are of roles; a user has AccessKeys',
  });

export type Principal = z.output<typeof principalSchema>;

const SECRET_STRING = 'must be a mapping, or JSON, with username and password';

export const secretSchema = mapping({
  Name: z
    .string({ error: 'must be text' })
    .regex(/^[\w/+=.@-]{1,512}$/, { error: 'must be 1 to 512 letters, digits and /_+=.@-' }),
  // As in RDS Proxy, a secret may hold more than it takes: what Secrets Manager keeps beside the two.
  SecretString: z
    .object(
      {
        username: text('text', 128),
        // PostgreSQL and its clients send passwords up to this length.
        password: text('text (put a number in quotes)', 65_535),
      },
      { error: SECRET_STRING },
    )
    .optional(),
  /** An extension. */
  SecretFile: text('the path of a file or a folder', 4096).optional(),
}).refine(
  ({ SecretString, SecretFile }) => (SecretString === undefined) !== (SecretFile === undefined),
  { error: 'must have either a SecretString or a SecretFile' },
);

export const passwordAuthTypeSchema = oneOf([
  'POSTGRES_SCRAM_SHA_256',
  'POSTGRES_MD5',
  'MYSQL_CACHING_SHA2_PASSWORD',
  'MYSQL_NATIVE_PASSWORD',
]);

export const authSchema = mapping({
  AuthScheme: oneOf(['SECRETS']).default('SECRETS'),
  SecretArn: text('the Name or the ARN of a secret', 2048),
  IAMAuth: oneOf(['DISABLED', 'REQUIRED'], {
    ENABLED: 'RDS Proxy has it for SQL Server only',
  }).default('DISABLED'),
  /** By default the strongest that the engine itself has. */
  ClientPasswordAuthType: passwordAuthTypeSchema.optional(),
});

/** An extension. */
export const prioritySchema = mapping({
  UserName: text('text', 128).optional(),
  ApplicationName: text('text', 128).optional(),
  Endpoint: name().optional(),
  Priority: integer(-100, 100),
});

export const connectionPoolConfigSchema = mapping({
  MaxConnectionsPercent: integer(1, 100).default(100),
  /** An extension. */
  MaxConnections: integer(1, 100_000).default(1000),
  MaxIdleConnectionsPercent: integer(0, 100).optional(),
  ConnectionBorrowTimeout: integer(0, 300).default(120),
  /** An extension. */
  BorrowedIdleTimeout: integer(1, DAY_S).default(300),
  /** An extension. */
  DatabaseConnectionIdleTimeout: integer(1, DAY_S).default(1800),
  /** An extension. */
  PoolMode: oneOf(['TRANSACTION', 'SESSION']).default('TRANSACTION'),
  SessionPinningFilters: listOf(oneOf(['EXCLUDE_VARIABLE_SETS']), 0, 1).default([]),
  InitQuery: text('text', 16_384).optional(),
  /** An extension. */
  Priorities: listOf(prioritySchema, 0, 1000).default([]),
});

const FOR_READERS = 'is for endpoints whose TargetRole is READ_ONLY';

export const endpointSchema = mapping({
  DBProxyEndpointName: name(),
  TargetRole: oneOf(['READ_WRITE', 'READ_ONLY']).default('READ_WRITE'),
  /** An extension. */
  MaxReplicaLag: integer(0, DAY_S).optional(),
  /** An extension. */
  ReaderFallback: oneOf(['NONE', 'WRITER']).optional(),
  Listen: listen,
  VpcSecurityGroupIds: groupIds,
})
  .refine(
    ({ TargetRole, MaxReplicaLag }) => TargetRole === 'READ_ONLY' || MaxReplicaLag === undefined,
    {
      path: ['MaxReplicaLag'],
      error: FOR_READERS,
    },
  )
  .refine(
    ({ TargetRole, ReaderFallback }) => TargetRole === 'READ_ONLY' || ReaderFallback === undefined,
    { path: ['ReaderFallback'], error: FOR_READERS },
  );

export const dbProxySchema = mapping({
  DBProxyName: name(),
  EngineFamily: oneOf(['POSTGRESQL', 'MYSQL']),
  Listen: listen,
  VpcSecurityGroupIds: groupIds,
  RequireTLS: flag().default(false),
  IdleClientTimeout: integer(1, 28_800).default(1800),
  /** An extension. */
  MaxClientConnections: integer(1, 1_000_000).default(10_000),
  /** An extension. */
  Replication: oneOf(['passthrough', 'refuse']).optional(),
  /** An extension. */
  NotificationFanOut: flag().optional(),
  /** An extension. */
  ServerVersion: text('the version that clients are told', 64)
    .regex(/^\d+\.\d+[!-~]*$/, { error: 'must begin like 8.4.0, without spaces' })
    .optional(),
  DebugLogging: flag().default(false),
  DefaultAuthScheme: oneOf(['NONE', 'IAM_AUTH']).default('NONE'),
  Auth: listOf(authSchema, 0, 200).default([]),
  TargetGroup: mapping({
    DBInstanceIdentifiers: listOf(name(), 1, 1).optional(),
    DBClusterIdentifiers: listOf(name(), 1, 1).optional(),
    ConnectionPoolConfig: connectionPoolConfigSchema.prefault({}),
  }).refine(
    ({ DBInstanceIdentifiers: instances, DBClusterIdentifiers: clusters }) =>
      (instances === undefined) !== (clusters === undefined),
    { error: 'must have either DBInstanceIdentifiers or DBClusterIdentifiers' },
  ),
  Endpoints: listOf(endpointSchema, 0, 20).default([]),
});

const DOMAIN = 'must be a domain in lower case, such as db.example.com';

export const USUAL_STATE_DIRECTORY = '.berth';

const REGION = z
  .string({ error: 'must be text' })
  .regex(/^[a-z]{2}(?:-[a-z0-9]+)+$/, { error: 'must look like us-east-1' });

export const fileSchema = mapping({
  Region: REGION.default('us-east-1'),
  AccountId: z
    .string({ error: 'must be 12 digits in quotes' })
    .regex(/^\d{12}$/, { error: 'must be 12 digits in quotes' })
    .default('000000000000'),
  Api: api.optional(),
  /** An extension: seconds that a stopping proxy waits for open transactions. */
  DrainTimeout: integer(0, 3600).default(30),
  /** An extension: a folder for what Berth itself has to keep. */
  StateDirectory: text('the path of a folder', 4096).default(USUAL_STATE_DIRECTORY),
  /** An extension: whether what a turn of the event loop sends may go out in one system call. */
  SendBatching: oneOf(['AUTO', 'OFF']).default('AUTO'),
  Tls: clientTls.prefault({}),
  /** An extension. */
  SecretStore: mapping({
    KeyFile: file().optional(),
    Keys: text('keys', 4096).optional(),
  }).prefault({}),
  /** An extension: what the host names of endpoints end with. */
  Domain: z
    .string({ error: DOMAIN })
    .regex(/^(?=.{1,120}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/, {
      error: DOMAIN,
    })
    .optional(),
  Subnets: listOf(subnetSchema, 0, 1000).default([]),
  SecurityGroups: listOf(securityGroupSchema, 0, 1000).default([]),
  /** An extension. */
  SecretsManager: mapping({
    Region: REGION.optional(),
    Endpoint: z
      .url({ protocol: /^https?$/, error: 'must begin with https:// or http://' })
      .optional(),
    RefreshInterval: integer(1, 3600).default(30),
  }).optional(),
  DBInstances: listOf(dbInstanceSchema, 0, 10_000).default([]),
  DBClusters: listOf(dbClusterSchema, 0, 1000).default([]),
  Secrets: listOf(secretSchema, 0, 10_000).default([]),
  /** An extension. */
  Principals: listOf(principalSchema, 0, 10_000).default([]),
  DBProxies: listOf(dbProxySchema, 0, 1000).default([]),
}).refine(({ Api, DBProxies }) => Api !== undefined || DBProxies.length > 0, {
  path: ['DBProxies'],
  error: 'must have 1 to 1000 items, as without an Api none can be made later',
});

export type File = z.output<typeof fileSchema>;

/**
 * Keys that somebody who knows RDS, or Berth's manual of a later version, may write, and what to
 * tell them. Paths are without indexes.
 */
export const UNSUPPORTED_KEYS: Readonly<Record<string, string>> = {
  'Api.Principals': 'Principals are at the top of the file, and have Policies',
  'Principals.Policies.PolicyDocument.Statement.Condition': 'policies have no conditions',
  'Principals.Policies.PolicyDocument.Statement.NotAction': 'write a Deny for the Action',
  'Principals.Policies.PolicyDocument.Statement.NotResource': 'write a Deny for the Resource',
  'DBProxies.Tls': 'all proxies have the certificate in Tls at the top of the file',
  'DBProxies.RoleArn': 'there is no IAM role to take: secrets are in this file',
  'DBProxies.VpcSubnetIds': 'there is no VPC: Listen says where the proxy is reached',
  'DBProxies.Tags': 'only what the RDS API has made has tags',
};
