/**
 * Database servers refuse to run as root. When we are root, their programs run under an ordinary account
 * of the machine instead: the server's own (`postgres`, `mysql`) if there is one, else `nobody`. When we
 * are not root, they run as we do, and there is nothing to choose.
 */

import { spawn } from 'node:child_process';
import { chownSync, readFileSync } from 'node:fs';

/** A user of the operating system. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const EVERYBODYS = 'nobody';

/** The account to run as, or undefined to run as ourselves. */
export function chooseAccount(
  own: 'postgres' | 'mysql' = 'postgres',
  passwd = readPasswd(),
): Account | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const accounts = parsePasswd(passwd);
  for (const name of [own, EVERYBODYS]) {
    const account = accounts.find((entry) => entry.name === name);
    if (account !== undefined) return account;
  }
  throw new Error(
    `a database does not run as root, and this machine has neither a "${own}" nor a "${EVERYBODYS}" user; run as another user`,
  );
}

/** The accounts of a passwd file, root excepted. */
export function parsePasswd(text: string): Account[] {
  const accounts: Account[] = [];
  for (const line of text.split('\n')) {
    const [name, , uid, gid] = line.split(':');
    if (name === undefined || uid === undefined || gid === undefined) continue;
    if (Number(uid) > 0) accounts.push({ name, uid: Number(uid), gid: Number(gid) });
  }
  return accounts;
}

function readPasswd(): string {
  try {
    return readFileSync('/etc/passwd', 'utf8');
  } catch {
    return '';
  }
}

/** Hands a file or folder to the account; does nothing when we run as ourselves. */
export function giveTo(account: Account | undefined, path: string): void {
  if (account !== undefined) chownSync(path, account.uid, account.gid);
}

/** The part of spawn's options that switches to the account. */
export function spawnAs(account: Account | undefined): { uid?: number; gid?: number } {
  return account === undefined ? {} : { uid: account.uid, gid: account.gid };
}

/**
 * What a server's programs see of our environment: a search path and plain English messages, but no
 * PGDATA, MYSQL_HOME and the like.
 */
export function cleanEnvironment(home: string): Record<string, string> {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: home, LC_ALL: 'C', TZ: 'UTC' };
}

export interface RunOptions {
  readonly account: Account | undefined;
  readonly directory: string;
  readonly input?: string;
}

/** Runs a program to its end. Resolves with its output; rejects with it when the exit code is not 0. */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      ...spawnAs(options.account),
      cwd: options.directory,
      env: cleanEnvironment(options.directory),
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    child.stdout.on('data', collect);
    child.stderr.on('data', collect);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      if (code === 0) resolve(output);
      else reject(new Error(`${command} ended with ${signal ?? `code ${code}`}\n${output}`));
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}
