/**
 * Makes the data directory of a throwaway MariaDB or MySQL, and the SQL that fills it at its first start.
 * Making one takes seconds. With a template directory, a finished one is kept there, by version, and copied.
 */

import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { giveTo, run } from './account.ts';
import { publish } from './installation.ts';
import type { MysqlInstallation, MysqlProduct } from './mysql-installation.ts';

/** How a user's password is kept, and so how the user logs in. */
export type MysqlAuthPlugin =
  | 'mysql_native_password'
  | 'caching_sha2_password'
  | 'sha256_password'
  | 'ed25519';

export interface MysqlUser {
  readonly name: string;
  /** Default: none, which is an empty password. */
  readonly password?: string;
  /** Default: the server's own choice. */
  readonly plugin?: MysqlAuthPlugin;
  /** What REQUIRE says: `SSL`, `X509`. */
  readonly require?: string;
  /** More of CREATE USER: `WITH MAX_USER_CONNECTIONS 3`, `ACCOUNT LOCK`. */
  readonly options?: string;
  /** What GRANT says. Default: `ALL ON *.*`. */
  readonly grants?: readonly string[];
}

export type MysqlSettings = Readonly<Record<string, string | number | boolean>>;

interface CreateOptions {
  readonly installation: MysqlInstallation;
  /** The data directory to make, inside a folder that belongs to the account. */
  readonly dataDirectory: string;
  readonly templateDirectory: string | undefined;
}

/** Makes a data directory with nothing but the system's own tables, and `root@localhost` without a password. */
export async function createMysqlDataDirectory(options: CreateOptions): Promise<void> {
  const { installation, dataDirectory, templateDirectory } = options;
  if (templateDirectory === undefined) {
    mkdirSync(dataDirectory, { mode: 0o700 });
    giveTo(installation.account, dataDirectory);
    await INITIALISE[installation.product](installation, dataDirectory);
    return;
  }
  const template = await ensureTemplate(installation, templateDirectory);
  await run('cp', ['-R', '--sparse=always', template, dataDirectory], {
    account: installation.account,
    directory: '/',
  });
  // MySQL's identity, which replication knows servers by; one that has none makes one.
  rmSync(join(dataDirectory, 'auto.cnf'), { force: true });
}

async function ensureTemplate(
  installation: MysqlInstallation,
  templateDirectory: string,
): Promise<string> {
  const { product, version, command } = installation;
  const hash = createHash('sha256')
    .update(`${version} ${command.join(' ')}`)
    .digest('hex');
  const template = join(templateDirectory, `${product.toLowerCase()}-${hash.slice(0, 16)}`);
  if (existsSync(template)) return template;
  const partial = mkdtempSync(join(templateDirectory, 'data-partial-'));
  giveTo(installation.account, partial);
  await INITIALISE[product](installation, partial);
  return publish(partial, template);
}

const INITIALISE: Readonly<
  Record<MysqlProduct, (installation: MysqlInstallation, dataDirectory: string) => Promise<void>>
> = {
  MariaDB: bootstrapMariadb,
  MySQL: async (installation, dataDirectory) => {
    await runServer(installation, dataDirectory, [
      '--initialize-insecure',
      '--innodb-undo-log-truncate=OFF',
    ]);
  },
};

/** MariaDB's system tables, without those of its help; some versions call the files otherwise. */
const SYSTEM_SCRIPTS = [
  ['mariadb_system_tables.sql', 'mysql_system_tables.sql'],
  ['mariadb_performance_tables.sql', 'mysql_performance_tables.sql'],
  ['mariadb_system_tables_data.sql', 'mysql_system_tables_data.sql'],
  ['maria_add_gis_sp_bootstrap.sql'],
  ['mariadb_sys_schema.sql', 'mysql_sys_schema.sql'],
];

/** https://mariadb.com/docs/server/clients-and-utilities/deployment-tools/mariadb-install-db */
async function bootstrapMariadb(
  installation: MysqlInstallation,
  dataDirectory: string,
): Promise<void> {
  const folders = ['mysql', 'mariadb'].map((name) =>
    join(installation.baseDirectory, 'share', name),
  );
  const scripts = SYSTEM_SCRIPTS.map((names) => {
    const files = folders.flatMap((folder) => names.map((name) => join(folder, name)));
    const file = files.find(existsSync);
    if (file === undefined) throw new Error(`MariaDB has none of these files: ${files.join(' ')}`);
    return readFileSync(file, 'utf8');
  });
  const before = [
    'CREATE DATABASE mysql;',
    'USE mysql;',
    'SET @auth_root_socket=NULL;',
    'SET @skip_auth_anonymous=1;',
  ];
  const after = ["DELETE FROM global_priv WHERE User='root' AND Host<>'localhost';"];
  const input = [...before, ...scripts, ...after].join('\n');
  // Where it begins, a server removes the temporary tables of others.
  const more = ['--bootstrap', '--max_allowed_packet=8M', `--tmpdir=${dataDirectory}`];
  await runServer(installation, dataDirectory, more, input);
}

async function runServer(
  installation: MysqlInstallation,
  dataDirectory: string,
  more: readonly string[],
  input = '',
): Promise<void> {
  const [file, ...args] = serverCommand(installation, dataDirectory);
  await run(file, [...args, ...more], { account: installation.account, directory: '/', input });
}

/** What every run of the server has on its command line. No file on the machine is read for more. */
export function serverCommand(
  installation: MysqlInstallation,
  dataDirectory: string,
): readonly [string, ...string[]] {
  const { command, baseDirectory, pluginDirectory } = installation;
  const [file, ...args] = command;
  const plugins = pluginDirectory === undefined ? [] : [`--plugin-dir=${pluginDirectory}`];
  const logFile = LOG_FILE_SETTING[installation.product];
  return [
    file,
    ...args,
    '--no-defaults',
    `--basedir=${baseDirectory}`,
    ...plugins,
    `--datadir=${dataDirectory}`,
    logFile,
    // A commit is lost when the machine ends, not when the server does: nothing waits for a disk.
    '--innodb-flush-log-at-trx-commit=2',
    '--innodb-flush-method=nosync',
    ...NO_SYNC[installation.product],
    '--innodb-doublewrite=0',
    '--innodb-buffer-pool-size=32M',
  ];
}

/** Small, so that a data directory is copied in a moment. */
const LOG_FILE_SETTING: Readonly<Record<MysqlProduct, string>> = {
  MariaDB: '--innodb-log-file-size=16M',
  MySQL: '--innodb-redo-log-capacity=16M',
};

/** What is outside of InnoDB. */
const NO_SYNC: Readonly<Record<MysqlProduct, readonly string[]>> = {
  MariaDB: ['--debug-no-sync'],
  MySQL: [],
};

/** The clause of CREATE USER for a plugin and a password, which is where the products differ. */
const IDENTIFIED: Readonly<
  Record<MysqlProduct, (plugin: MysqlAuthPlugin | undefined, password: string) => string>
> = {
  MariaDB: (plugin, password) =>
    plugin === undefined
      ? `IDENTIFIED BY ${password}`
      : `IDENTIFIED VIA ${plugin} USING PASSWORD(${password})`,
  MySQL: (plugin, password) =>
    plugin === undefined ? `IDENTIFIED BY ${password}` : `IDENTIFIED WITH ${plugin} BY ${password}`,
};

/** One statement per line: what an init file is made of. */
export function contentsLines(
  product: MysqlProduct,
  users: readonly MysqlUser[],
  databases: readonly string[],
): string[] {
  const lines = databases.map((name) => `CREATE DATABASE ${quoteMysqlName(name)};`);
  for (const user of users) {
    const account = `${quoteMysqlText(user.name)}@'%'`;
    const identified = IDENTIFIED[product](user.plugin, quoteMysqlText(user.password ?? ''));
    const require = user.require === undefined ? '' : ` REQUIRE ${user.require}`;
    const more = user.options === undefined ? '' : ` ${user.options}`;
    lines.push(`CREATE USER ${account} ${identified}${require}${more};`);
    for (const grant of user.grants ?? ['ALL ON *.*']) lines.push(`GRANT ${grant} TO ${account};`);
  }
  return lines;
}

/** An SQL identifier. */
export function quoteMysqlName(name: string): string {
  return `\`${name.replaceAll('`', '``')}\``;
}

/** An SQL string in one line, where backslashes escape. */
export function quoteMysqlText(text: string): string {
  const escaped = text
    .replaceAll('\\', '\\\\')
    .replaceAll("'", "\\'")
    .replaceAll('\r', '\\r')
    .replaceAll('\n', '\\n');
  return `'${escaped}'`;
}
