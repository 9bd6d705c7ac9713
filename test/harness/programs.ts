/**
 * PostgreSQL's own client programs, such as psql and pgbench, and a few others, where the machine has
 * them. A test that needs
 * one says so with `testWith`, which skips it and prints why when the program is missing.
 */

import { test } from 'bun:test';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { within } from './deadline.ts';

const PROGRAM_DEADLINE_MS = 60_000;

export type Program =
  | 'aws'
  | 'berth'
  | 'createdb'
  | 'dropdb'
  | 'openssl'
  | 'pg_basebackup'
  | 'pg_dump'
  | 'pg_receivewal'
  | 'pg_recvlogical'
  | 'pg_restore'
  | 'pg_verifybackup'
  | 'pgbench'
  | 'psql'
  | 'reindexdb'
  | 'vacuumdb';

export interface ProgramOptions {
  readonly port: number;
  readonly host?: string;
  readonly user?: string;
  readonly password?: string;
  readonly database?: string;
  /** The standard input. */
  readonly input?: string;
  readonly environment?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
  /** Where the program is; default: wherever the system finds it. */
  readonly folder?: string;
  /** Where it runs; default: here. */
  readonly workingFolder?: string;
}

export interface ProgramResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export function hasProgram(program: Program): boolean {
  return Bun.which(program) !== null;
}

/** A test that needs a program; skipped, with the reason printed, where it is missing. */
export function testWith(
  program: Program,
  name: string,
  body: () => Promise<void>,
  deadlineMs = PROGRAM_DEADLINE_MS,
): void {
  if (hasProgram(program)) test(name, body, deadlineMs);
  else skipBecause(`no ${program}`, name);
}

/** Skips a test and prints why. */
export function skipBecause(reason: string, name: string): void {
  test.skip(name, () => undefined);
  process.stderr.write(`skipped: ${reason}: ${name}\n`);
}

/** Runs psql on some SQL or a script, stopping at the first error, without anyone's psqlrc. */
export function psql(sql: string, options: ProgramOptions): Promise<ProgramResult> {
  const args = ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--set=ON_ERROR_STOP=1'];
  return runProgram('psql', args, { ...options, input: sql });
}

/** Runs a program to its end, with the connection in its environment. */
export async function runProgram(
  program: Program,
  args: readonly string[],
  options: ProgramOptions,
): Promise<ProgramResult> {
  const { folder, workingFolder: cwd } = options;
  const file = folder === undefined ? program : join(folder, program);
  const child = spawn(file, args, { env: programEnvironment(options), stdio: 'pipe', cwd });
  let stdout = '';
  let stderr = '';
  // A character may be cut by the end of a chunk.
  child.stdout.setEncoding('utf8');
  child.stderr.setEncoding('utf8');
  child.stdout.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.on('data', (chunk) => {
    stderr += chunk;
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(options.input ?? '');
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  try {
    const describe = () => `the end of ${program}\n${stdout}${stderr}`;
    const code = await within(closed, describe, options.deadlineMs ?? PROGRAM_DEADLINE_MS);
    return { code, stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}

/** What a program needs to connect without being told on its command line. */
export function programEnvironment(options: ProgramOptions): Record<string, string> {
  const { user = 'app', password = 'app-password', database = 'app', port, host } = options;
  return {
    PATH: process.env.PATH ?? '',
    HOME: '/nonexistent',
    LC_ALL: 'C.UTF-8',
    PGHOST: host ?? '127.0.0.1',
    PGPORT: String(port),
    PGUSER: user,
    PGPASSWORD: password,
    PGDATABASE: database,
    PGCONNECT_TIMEOUT: '15',
    ...options.environment,
  };
}
