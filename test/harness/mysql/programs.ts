/** The command line clients of MariaDB and MySQL: the one that belongs to a server. */

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { within } from '../deadline.ts';
import type { ProgramResult } from '../programs.ts';
import type { MysqlServer } from './server.ts';

const PROGRAM_DEADLINE_MS = 30_000;

/** Undefined when the machine has it not. */
export function clientOf(server: MysqlServer): readonly string[] | undefined {
  if (server.product === 'MySQL') return mysqlProgram(server, 'mysql');
  return Bun.which('mariadb') === null ? undefined : ['mariadb'];
}

/** A program that came with this server of MySQL: how to run it. Undefined when there is none. */
export function mysqlProgram(
  { installation }: MysqlServer,
  name: string,
): readonly string[] | undefined {
  const program = join(installation.baseDirectory, 'bin', name);
  // A server that was only unpacked is started by its own loader, and so are its programs.
  return existsSync(program) ? [...installation.command.slice(0, -1), program] : undefined;
}

/** Runs the client on one statement, without anyone's settings. */
export async function runClient(
  client: readonly string[],
  args: readonly string[],
  password: string,
): Promise<ProgramResult> {
  const [program = '', ...loader] = client;
  const usual = ['--no-defaults', '--protocol=tcp', '--batch', '--skip-column-names'];
  const child = spawn(program, [...loader, ...usual, ...args], {
    env: { PATH: process.env.PATH ?? '', HOME: '/nonexistent', MYSQL_PWD: password },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk) => {
    stderr += chunk;
  });
  const closed = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  try {
    const describe = () => `the end of ${program}\n${stdout}${stderr}`;
    return { code: await within(closed, describe, PROGRAM_DEADLINE_MS), stdout, stderr };
  } finally {
    child.kill('SIGKILL');
  }
}
