/**
 * Starts a program under test with its output in a file, waits until it listens, and stops it by
 * its own process id. Nothing here ever ends a process that it did not start.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { atExit } from '../at-exit.ts';
import { RawClient } from '../wire/raw-client.ts';

const START_DEADLINE_MS = 20_000;
const STOP_DEADLINE_MS = 5_000;
const POLL_MS = 25;
const LOG_TAIL_LENGTH = 2_000;

export const LOOPBACK = '127.0.0.1';

export interface ChildRequest {
  readonly command: string;
  readonly args: readonly string[];
  /** Where its output goes. */
  readonly logFile: string;
  /** It is up when this port of the loopback address accepts. */
  readonly port: number;
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Child {
  /** The process that does the work: the program itself, or what its launcher started. */
  readonly pid: number;
  stop(): Promise<void>;
}

export async function startChild(request: ChildRequest): Promise<Child> {
  const log = openSync(request.logFile, 'a');
  const child = spawn(request.command, [...request.args], {
    stdio: ['ignore', log, log],
    env: { ...process.env, ...request.environment },
  });
  closeSync(log);
  const failure: { error?: Error } = {};
  child.on('error', (error) => {
    failure.error = error;
  });
  const forget = atExit(() => child.kill('SIGKILL'));
  child.once('exit', forget);
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await accepts(request.port))) {
    if (failure.error || hasExited(child) || Date.now() > deadline) {
      child.kill('SIGKILL');
      const why = failure.error?.message ?? readFileSync(request.logFile, 'utf8');
      throw new Error(`${request.command} did not start: ${why.slice(-LOG_TAIL_LENGTH)}`);
    }
    await Bun.sleep(POLL_MS);
  }
  return { pid: workerOf(child.pid ?? 0), stop: () => stop(child) };
}

async function stop(child: ChildProcess): Promise<void> {
  if (hasExited(child)) return;
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  child.kill('SIGINT');
  const killer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
  await exited;
  clearTimeout(killer);
}

function hasExited(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

async function accepts(port: number): Promise<boolean> {
  try {
    (await RawClient.open({ host: LOOPBACK, port })).end();
    return true;
  } catch {
    return false;
  }
}

/** Follows a launcher down to the last process it started. */
function workerOf(pid: number): number {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ');
    const next = Number(children[0]);
    return next > 0 ? workerOf(next) : pid;
  } catch {
    return pid;
  }
}

/** A port of the loopback address that nobody listens on now. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, LOOPBACK, () => {
      const address = server.address();
      const port = typeof address === 'object' && address !== null ? address.port : 0;
      server.close(() => resolve(port));
    });
  });
}
