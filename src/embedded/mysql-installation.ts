/**
 * Finds the server programs of MariaDB and MySQL: those that the machine itself has, and packages that were
 * only unpacked into a folder (scripts/install-servers.ts does that). A server of such a folder is started
 * by the folder's own loader with the folder's own libraries, so it needs nothing of the machine, and no
 * rights.
 */

import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Account, chooseAccount, spawnAs } from './account.ts';

export type MysqlProduct = 'MariaDB' | 'MySQL';

export interface MysqlInstallation {
  readonly product: MysqlProduct;
  /** As the server says it: `10.11.19-MariaDB-0+deb12u1`, `9.7.4-2`. */
  readonly version: string;
  /** How to run the server's program. */
  readonly command: readonly [string, ...string[]];
  /** What `basedir` is: the folder whose `share` has the messages and SQL scripts. */
  readonly baseDirectory: string;
  /** What `plugin_dir` is; undefined leaves the server's own. */
  readonly pluginDirectory: string | undefined;
  readonly account: Account | undefined;
}

const SERVER_FILES: Readonly<Record<MysqlProduct, readonly string[]>> = {
  MariaDB: ['mariadbd', 'mysqld'],
  MySQL: ['mysqld'],
};

/** Where servers are that are not in the search path of ordinary users. */
const SERVER_FOLDERS = [
  '/usr/sbin',
  '/usr/local/sbin',
  '/usr/libexec',
  '/opt/homebrew/opt/mariadb/bin',
  '/usr/local/opt/mariadb/bin',
];

/** The machine's own server of this product, if it has one. */
export function findInstalled(product: MysqlProduct): MysqlInstallation | undefined {
  for (const file of SERVER_FILES[product]) {
    const found = [Bun.which(file), ...SERVER_FOLDERS.map((folder) => join(folder, file))];
    for (const path of found) {
      if (path === null || !existsSync(path)) continue;
      const baseDirectory = dirname(dirname(path));
      const installation = describe([path], baseDirectory, undefined);
      if (installation?.product === product) return installation;
    }
  }
  return undefined;
}

/** The server of a folder into which packages were unpacked. */
export function findUnpacked(folder: string): MysqlInstallation | undefined {
  const baseDirectory = join(folder, 'usr');
  const command = commandIn(folder, 'mariadbd') ?? commandIn(folder, 'mysqld');
  if (command === undefined) return undefined;
  const plugins = [
    join(baseDirectory, 'lib/mysql/plugin'),
    join(baseDirectory, 'lib/mariadb/plugin'),
  ];
  return describe(command, baseDirectory, plugins.find(existsSync));
}

/** Where packages keep libraries that only their own programs use. */
const OWN_LIBRARIES = ['usr/lib/mysql-router'];

/** How to run a program of a folder into which packages were unpacked. */
export function commandIn(
  folder: string,
  program: string,
): readonly [string, ...string[]] | undefined {
  const file = ['usr/sbin', 'usr/bin']
    .map((part) => join(folder, part, program))
    .find((path) => existsSync(path));
  const loader = findLoader(join(folder, 'usr/lib'));
  if (file === undefined || loader === undefined) return undefined;
  const libraries = [dirname(loader), ...OWN_LIBRARIES.map((part) => join(folder, part))];
  return [loader, '--library-path', libraries.join(':'), file];
}

/** `usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2`, or what it is on another processor. */
function findLoader(libraries: string): string | undefined {
  if (!existsSync(libraries)) return undefined;
  for (const platform of readdirSync(libraries)) {
    if (!platform.endsWith('-linux-gnu')) continue;
    const name = readdirSync(join(libraries, platform)).find((file) =>
      /^ld-linux.*\.so/.test(file),
    );
    if (name !== undefined) return join(libraries, platform, name);
  }
  return undefined;
}

/** Runs the program with `--version`, under the account: proves rights and libraries at once. */
function describe(
  command: readonly [string, ...string[]],
  baseDirectory: string,
  pluginDirectory: string | undefined,
): MysqlInstallation | undefined {
  const account = chooseAccount('mysql');
  const [file, ...args] = command;
  const { status, stdout } = spawnSync(file, [...args, '--no-defaults', '--version'], {
    ...spawnAs(account),
    cwd: '/',
    encoding: 'utf8',
  });
  const version = status === 0 ? /\bVer (\S+)/.exec(stdout)?.[1] : undefined;
  if (version === undefined) return undefined;
  const product = stdout.includes('MariaDB') ? 'MariaDB' : 'MySQL';
  return { product, version, command, baseDirectory, pluginDirectory, account };
}
