/**
 * Makes the data directory of a throwaway PostgreSQL: initdb, roles and databases, settings, and
 * who may connect how. Nothing here starts a server: roles and databases are made in PostgreSQL's
 * single-user mode, so the first server that starts is complete.
 *
 * Making one takes about a second. With a template directory, a finished one is kept there, by
 * version and content, and copied.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { giveTo, run } from './account.ts';
import { type Installation, publish } from './installation.ts';

/** An authentication method of pg_hba.conf. */
export type HbaMethod = 'trust' | 'password' | 'md5' | 'scram-sha-256' | 'reject';

export interface EmbeddedUser {
  readonly name: string;
  readonly password?: string;
  /** How the password is stored. Default: `scram-sha-256`. */
  readonly passwordEncryption?: 'md5' | 'scram-sha-256';
  /** How this user logs in over TCP, whatever the general rule says. */
  readonly method?: HbaMethod;
  /** More of CREATE ROLE: `SUPERUSER`, `CONNECTION LIMIT 3`, `VALID UNTIL '…'`. */
  readonly attributes?: string;
}

export interface EmbeddedDatabase {
  readonly name: string;
  /** Default: the first user, or `postgres`. */
  readonly owner?: string;
}

/** How each kind of connection logs in. Default: `trust`. The superuser `postgres` is always trusted on the Unix socket. */
export interface Authentication {
  readonly local?: HbaMethod;
  /** TCP without TLS. */
  readonly hostnossl?: HbaMethod;
  /** TCP with TLS. */
  readonly hostssl?: HbaMethod;
}

/** PEM texts. With them the database accepts TLS. */
export interface EmbeddedTls {
  readonly certificate: string;
  readonly privateKey: string;
  /** Who vouches for clients; with it they are asked for a certificate. */
  readonly clientCa?: string;
}

export type SettingValue = string | number | boolean;
export type Settings = Readonly<Record<string, SettingValue>>;

export interface Contents {
  readonly users: readonly EmbeddedUser[];
  readonly databases: readonly EmbeddedDatabase[];
}

export interface CreateOptions extends Contents {
  readonly installation: Installation;
  /** The data directory to make, inside a folder that belongs to the account. */
  readonly dataDirectory: string;
  readonly templateDirectory: string | undefined;
}

/** Makes a data directory with its roles and databases. */
export async function createDataDirectory(options: CreateOptions): Promise<void> {
  const { installation, dataDirectory, templateDirectory } = options;
  const script = contentsScript(options);
  if (templateDirectory === undefined) {
    await initialise(installation, dataDirectory, script);
    return;
  }
  const template = await ensureTemplate(installation, templateDirectory, script);
  await run('cp', ['-R', template, dataDirectory], {
    account: installation.account,
    directory: '/',
  });
}

async function ensureTemplate(
  installation: Installation,
  templateDirectory: string,
  script: string,
): Promise<string> {
  const hash = createHash('sha256').update(installation.version).update('\n').update(script);
  const template = join(templateDirectory, `data-${hash.digest('hex').slice(0, 16)}`);
  if (existsSync(template)) return template;
  const partial = mkdtempSync(join(templateDirectory, 'data-partial-'));
  giveTo(installation.account, partial);
  await initialise(installation, partial, script);
  return publish(partial, template);
}

async function initialise(
  installation: Installation,
  dataDirectory: string,
  script: string,
): Promise<void> {
  const { account, binDirectory, major } = installation;
  if (!existsSync(dataDirectory)) mkdirSync(dataDirectory, { mode: 0o700 });
  giveTo(account, dataDirectory);
  const locale = ['--locale=C', '--encoding=UTF8'];
  if (major >= 17) locale.push('--locale-provider=builtin', '--builtin-locale=C.UTF-8');
  const fixed = ['--username=postgres', '--auth=trust', '--no-sync', '--no-instructions'];
  await run(
    join(binDirectory, 'initdb'),
    [`--pgdata=${dataDirectory}`, ...fixed, ...locale, '--wal-segsize=4'],
    { account, directory: '/' },
  );
  await runSingleUser(installation, dataDirectory, script);
}

/**
 * Runs statements, each ended by a semicolon and an empty line, without a server.
 * https://www.postgresql.org/docs/18/app-postgres.html
 */
async function runSingleUser(
  installation: Installation,
  dataDirectory: string,
  script: string,
): Promise<void> {
  if (script === '') return;
  await run(
    join(installation.binDirectory, 'postgres'),
    [
      '--single',
      '-j',
      '-D',
      dataDirectory,
      '-c',
      'exit_on_error=on',
      '-c',
      'fsync=off',
      'postgres',
    ],
    { account: installation.account, directory: '/', input: script },
  );
}

/** The statements that make the users and databases. */
export function contentsScript(contents: Contents): string {
  const statements = contents.users.flatMap(roleStatements);
  const owner = contents.users[0]?.name ?? 'postgres';
  for (const database of contents.databases) {
    statements.push(
      `CREATE DATABASE ${quoteName(database.name)} OWNER ${quoteName(database.owner ?? owner)} STRATEGY file_copy`,
    );
  }
  return statements.map((statement) => `${statement};\n\n`).join('');
}

function roleStatements(user: EmbeddedUser): string[] {
  const attributes = user.attributes ?? '';
  const role = `CREATE ROLE ${quoteName(user.name)} LOGIN ${attributes}`;
  if (user.password === undefined) return [role];
  return [
    `SET password_encryption = ${quoteText(user.passwordEncryption ?? 'scram-sha-256')}`,
    `${role} PASSWORD ${quoteText(user.password)}`,
  ];
}

/** An SQL identifier. */
export function quoteName(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** An SQL string in one line: an empty line would end the statement. */
export function quoteText(text: string): string {
  const quoted = text.replaceAll("'", "''");
  if (!/[\\\r\n]/.test(text)) return `'${quoted}'`;
  const escaped = quoted.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('\r', '\\r');
  return `E'${escaped}'`;
}

/** Text of a settings file of PostgreSQL. */
export function settingsText(settings: Settings): string {
  const lines = Object.entries(settings).map(([name, value]) => {
    const text = typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    return `${name} = '${text.replaceAll('\\', '\\\\').replaceAll("'", "''")}'\n`;
  });
  return lines.join('');
}

/** Text of pg_hba.conf. The first line that matches decides. */
export function hbaText(users: readonly EmbeddedUser[], authentication: Authentication): string {
  const lines = ['local all postgres trust'];
  for (const user of users) {
    if (user.method === undefined) continue;
    lines.push(`host all ${quoteName(user.name)} samehost ${user.method}`);
  }
  lines.push(`local all,replication all ${authentication.local ?? 'trust'}`);
  for (const kind of ['hostnossl', 'hostssl'] as const) {
    lines.push(`${kind} all,replication all samehost ${authentication[kind] ?? 'trust'}`);
  }
  return `${lines.join('\n')}\n`;
}

/** Writes one file of a data directory, readable by its account only (PostgreSQL insists, for keys). */
export function writeDataFile(
  installation: Installation,
  dataDirectory: string,
  name: string,
  text: string,
): void {
  const path = join(dataDirectory, name);
  writeFileSync(path, text, { mode: 0o600 });
  giveTo(installation.account, path);
}
