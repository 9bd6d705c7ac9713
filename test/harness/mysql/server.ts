/**
 * MariaDB and MySQL for tests, as data: which servers there may be, what each of them has, and how a test file gets
 * one of its own. A server that the machine does not have is skipped, with the reason.
 *
 *   describeServers('prepared statements', (server) => {
 *     const database = useMysql(server);
 *     test('…', async () => { using client = await loginTo(database()); … });
 *   });
 */

import { describe } from 'bun:test';
import { findServer } from '../../../scripts/server-packages.ts';
import {
  EmbeddedMysql,
  type EmbeddedMysqlOptions,
  type MysqlAuthPlugin,
  type MysqlInstallation,
  type MysqlProduct,
  type MysqlTls,
  type MysqlUser,
} from '../../../src/embedded/mysql.ts';
import { findInstalled } from '../../../src/embedded/mysql-installation.ts';
import { TestAuthority } from '../certificates.ts';
import { START_DEADLINE_MS } from '../postgres.ts';
import { skipBecause } from '../programs.ts';
import { useShared } from '../shared.ts';
import { type MysqlAddress, type MysqlLoginOptions, MysqlRawClient } from './raw-client.ts';

/** A server that a test can run on. */
export interface MysqlServer {
  /** For the titles of tests. */
  readonly name: 'MariaDB' | 'MySQL' | 'MariaDB 11';
  readonly product: MysqlProduct;
  readonly installation: MysqlInstallation;
}

/** What differs between the products, as far as tests must know. */
export interface ProductTraits {
  /** The plugin of a user for whom none was said. */
  readonly usualPlugin: MysqlAuthPlugin;
  /** A user of each plugin, by its name in the protocol. */
  readonly pluginUsers: Readonly<Record<string, MysqlUser & { readonly password: string }>>;
  /** Settings that the plugins need. */
  readonly settings: Readonly<Record<string, string>>;
}

export const TRAITS: Readonly<Record<MysqlProduct, ProductTraits>> = {
  MariaDB: {
    usualPlugin: 'mysql_native_password',
    pluginUsers: {
      mysql_native_password: pluginUser('native', 'mysql_native_password'),
      client_ed25519: pluginUser('ed25519', 'ed25519'),
    },
    settings: { plugin_load_add: 'auth_ed25519' },
  },
  MySQL: {
    usualPlugin: 'caching_sha2_password',
    pluginUsers: {
      caching_sha2_password: pluginUser('sha2', 'caching_sha2_password'),
      sha256_password: pluginUser('sha256', 'sha256_password'),
    },
    settings: {},
  },
};

function pluginUser(name: string, plugin: MysqlAuthPlugin) {
  return { name, plugin, password: `${name}-password` };
}

/** The users of a test database, besides those of its plugins. `empty` has no password. */
export const MYSQL_USERS = [
  { name: 'app', password: 'app-password' },
  { name: 'other', password: 'other-password' },
  { name: 'empty', password: '' },
] as const;

export const MYSQL_DATABASES = ['app', 'second'] as const;

const INSTALL_HINT = 'npm run servers installs one';

interface Candidate {
  readonly name: MysqlServer['name'];
  readonly product: MysqlProduct;
  readonly find: () => MysqlInstallation | undefined;
  /** Why there is none; undefined: nobody expects it. */
  readonly missing: string | undefined;
}

const CANDIDATES: readonly Candidate[] = [
  {
    name: 'MariaDB',
    product: 'MariaDB',
    find: () => findInstalled('MariaDB'),
    missing: 'no MariaDB server: the package mariadb-server has one',
  },
  {
    name: 'MySQL',
    product: 'MySQL',
    find: () => findServer('mysql') ?? findInstalled('MySQL'),
    missing: `no MySQL server: ${INSTALL_HINT}`,
  },
  {
    name: 'MariaDB 11',
    product: 'MariaDB',
    find: () => findServer('mariadb-11'),
    missing: undefined,
  },
];

const found = new Map<string, MysqlServer | undefined>();

function serverOf({ name, product, find }: Candidate): MysqlServer | undefined {
  if (!found.has(name)) {
    const installation = find();
    found.set(name, installation === undefined ? undefined : { name, product, installation });
  }
  return found.get(name);
}

/** Those that are on this machine: MariaDB and MySQL, and newer ones when `isThorough`. */
export function availableServers(isThorough = false): MysqlServer[] {
  return CANDIDATES.flatMap((candidate) => {
    if (candidate.missing === undefined && !isThorough) return [];
    return serverOf(candidate) ?? [];
  });
}

/** Makes a group of tests for each server; a server that is not there is one skipped test. */
export function describeServers(
  title: string,
  body: (server: MysqlServer) => void,
  options: { readonly isThorough?: boolean; readonly only?: MysqlProduct } = {},
): void {
  for (const candidate of CANDIDATES) {
    const { name, product, missing } = candidate;
    if (options.only !== undefined && options.only !== product) continue;
    if (missing === undefined && options.isThorough !== true) continue;
    const server = serverOf(candidate);
    if (server !== undefined) describe(`${title} on ${name}`, () => body(server));
    else if (missing !== undefined) skipBecause(missing, `${title} on ${name}`);
  }
}

export interface TestMysqlOptions extends Omit<Partial<EmbeddedMysqlOptions>, 'tls'> {
  /** Default: a certificate of `mysqlCertificates`; `false` is a server without TLS. */
  readonly tls?: MysqlTls | false;
}

export interface MysqlCertificates {
  /** Who signed the server's certificate, PEM: for VERIFY_CA and VERIFY_IDENTITY. */
  readonly authority: TestAuthority;
  readonly server: MysqlTls;
}

let certificates: Promise<MysqlCertificates> | undefined;

/** The certificates of all test servers of this process: for `localhost` and 127.0.0.1. */
export function mysqlCertificates(): Promise<MysqlCertificates> {
  certificates ??= makeCertificates();
  return certificates;
}

async function makeCertificates(): Promise<MysqlCertificates> {
  const authority = await TestAuthority.make('Test database authority', 'ECDSA with SHA-256');
  const issued = await authority.issue({ commonName: 'test database' });
  return { authority, server: { ...issued, clientCa: authority.certificate } };
}

/** Starts a database for a test. The caller stops it. */
export async function startMysql(
  server: MysqlServer,
  options: TestMysqlOptions = {},
): Promise<EmbeddedMysql> {
  const templateDirectory = process.env.BERTH_TEST_TEMPLATES;
  const { tls: wanted = (await mysqlCertificates()).server, settings, users, ...rest } = options;
  const traits = TRAITS[server.product];
  return await EmbeddedMysql.start({
    databases: MYSQL_DATABASES,
    ...(templateDirectory === undefined ? {} : { templateDirectory }),
    ...rest,
    ...(wanted === false ? {} : { tls: wanted }),
    installation: server.installation,
    users: users ?? [...MYSQL_USERS, ...Object.values(traits.pluginUsers)],
    settings: { ...traits.settings, ...settings },
  });
}

/** One database for all tests of the file or `describe` that calls it. Call the result inside tests. */
export function useMysql(server: MysqlServer, options: TestMysqlOptions = {}): () => EmbeddedMysql {
  return useShared({
    name: 'the database',
    start: () => startMysql(server, options),
    stop: (database) => database.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
}

/** The database's address, over TCP. */
export function mysqlAddressOf(database: EmbeddedMysql): MysqlAddress {
  return { port: database.port };
}

/** Logs in directly. Default: the user `app`, in the database `app`. */
export function loginTo(
  database: EmbeddedMysql,
  options: Partial<MysqlLoginOptions> = {},
): Promise<MysqlRawClient> {
  return MysqlRawClient.login(mysqlAddressOf(database), { ...loginOf(options.user), ...options });
}

/** How a test user logs in. */
export function loginOf(user = 'app'): MysqlLoginOptions {
  const password = MYSQL_USERS.find(({ name }) => name === user)?.password ?? '';
  return { user, password, database: 'app' };
}

/** Runs SQL as root, past any proxy. Rejects with the database's own error. Returns the rows of all results. */
export async function mysqlAdmin(
  database: EmbeddedMysql,
  sql: string,
): Promise<(string | null)[][]> {
  const { socketPath } = database;
  using client = await MysqlRawClient.login({ socketPath }, { user: 'root' });
  return await client.rows(sql);
}
