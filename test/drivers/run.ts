/**
 * The program of a driver, run twice: straight against a database, then through a proxy whose pool is
 * smaller than the number of the program's clients. What it prints must be equal. A program does what
 * applications do with the driver, with the driver's own settings.
 */

import { expect } from 'bun:test';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { pooledConnections } from '../faults/activity.ts';
import type { Berth } from '../harness/berth.ts';
import { within } from '../harness/deadline.ts';
import { untilAllReturned } from '../integration/side-by-side.ts';

export const POOL_SIZE = 4;
/** Starting a Java machine or Python on a machine that is busy with other tests. */
const PROGRAM_DEADLINE_MS = 100_000;
export const DRIVER_TEST_DEADLINE_MS = 2 * PROGRAM_DEADLINE_MS + 10_000;

/** How to start a driver's program. */
export interface DriverProgram {
  readonly command: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs the program on both sides and compares. Returns what it printed. */
export async function compareRuns(
  program: DriverProgram,
  database: EmbeddedPostgres,
  berth: Berth,
): Promise<string[]> {
  const direct = await runDirectly(program, connectionTo(database.port), 'PostgreSQL');
  const through = await runProgram(program, connectionTo(berth.port));
  expect(through).toEqual(direct);
  expect(direct.length).toBeGreaterThan(0);
  expect(await pooledConnections(database)).toBeLessThanOrEqual(POOL_SIZE);
  await untilAllReturned(berth);
  return direct;
}

export function pinCount(berth: Berth): Promise<number> {
  return berth.metric('berth_session_pins_total');
}

/** No session was pinned since there were so many pins; if one was, the log says why. */
export async function expectNoPins(berth: Berth, before: number): Promise<void> {
  const pins = await pinCount(berth);
  const reasons = berth.logged('session.pinned').map(({ reason, digest }) => [reason, digest]);
  expect({ pins, reasons: pins === before ? [] : reasons }).toEqual({ pins: before, reasons: [] });
}

/**
 * Runs a program straight against a database, once in a test run: the programs that run again with an adversary in the
 * proxy are compared with what is known then.
 */
export async function runDirectly(
  program: DriverProgram,
  connection: Readonly<Record<string, string>>,
  product: string,
): Promise<string[]> {
  const folder = process.env.BERTH_TEST_TEMPLATES;
  if (folder === undefined) return runProgram(program, connection);
  // Some are in a temporary folder of their own.
  const what = [product, ...program.command.map((word) => basename(word))];
  const file = join(folder, `direct-${Bun.hash(what.join('\0')).toString(16)}.txt`);
  if (existsSync(file)) return readFileSync(file, 'utf8').split('\n');
  const lines = await runProgram(program, connection);
  const partial = `${file}-${process.pid}`;
  writeFileSync(partial, lines.join('\n'));
  renameSync(partial, file);
  return lines;
}

/** Runs a program, with the connection in its environment. Returns the lines that it printed. */
export async function runProgram(
  program: DriverProgram,
  connection: Readonly<Record<string, string>>,
): Promise<string[]> {
  const [command = '', ...args] = program.command;
  const child = spawn(command, args, {
    env: { ...process.env, ...program.environment, ...connection },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [output, problems] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    problems += text;
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', resolve);
  });
  try {
    const what = () => `the end of ${command} ${args[0]}\n${output.slice(-2_000)}${problems}`;
    const code = await within(ended, what, PROGRAM_DEADLINE_MS);
    if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}\n${problems}`);
  } finally {
    child.kill('SIGKILL');
  }
  return output.trimEnd().split('\n');
}

function connectionTo(port: number): Record<string, string> {
  return {
    PGHOST: '127.0.0.1',
    PGPORT: String(port),
    PGUSER: 'app',
    PGPASSWORD: 'app-password',
    PGDATABASE: 'app',
    TZ: 'UTC',
  };
}
