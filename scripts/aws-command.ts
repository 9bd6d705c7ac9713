/**
 * The real `aws` program for a test run, without a start of Python for each command, which takes most of a second: one
 * process has it loaded and forks for every command (aws-driver.py). An `aws` that is no program of Python's stays as it is.
 */

import { spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const DRIVER = join(import.meta.dir, 'aws-driver.py');
/** `#!` and a path. */
const HEAD_LENGTH_MAX = 256;

export interface AwsCommand {
  /** Has a program `aws`: to be the first of PATH. */
  readonly folder: string;
  readonly stop: () => void;
}

/** Resolves when commands can be run; with undefined when there is no aws, or none that can be loaded once. */
export async function startAws(folder: string): Promise<AwsCommand | undefined> {
  const python = interpreterOfAws();
  if (python === undefined) return undefined;
  const commands = join(folder, 'aws');
  mkdirSync(commands);
  if (spawnSync('mkfifo', [join(commands, 'requests')]).status !== 0) return undefined;
  writeFileSync(join(commands, 'aws'), wrapper(commands), { mode: 0o755 });
  const driver = spawn(python, [DRIVER, commands], {
    env: { PATH: process.env.PATH, HOME: process.env.HOME, LC_ALL: 'C.UTF-8' },
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const isReady = await new Promise<boolean>((resolve) => {
    driver.stdout.once('data', () => resolve(true));
    driver.once('error', () => resolve(false));
    driver.once('close', () => resolve(false));
  });
  return isReady ? { folder: commands, stop: () => void driver.stdin.end() } : undefined;
}

/** The Python that the first line of the program names; pyenv has a shell script in its place. */
function interpreterOfAws(): string | undefined {
  const program = Bun.which('aws');
  if (program === null) return undefined;
  const interpreter = interpreterOf(program);
  if (interpreter?.includes('python')) return interpreter;
  if (!program.includes('/shims/')) return undefined;
  const { status, stdout } = spawnSync('pyenv', ['which', 'aws'], { encoding: 'utf8' });
  const real = status === 0 ? interpreterOf(stdout.trim()) : undefined;
  return real?.includes('python') ? real : undefined;
}

function interpreterOf(program: string): string | undefined {
  const head = Buffer.alloc(HEAD_LENGTH_MAX);
  const file = openSync(program, 'r');
  const length = readSync(file, head);
  closeSync(file);
  return /^#! *(\/\S+)\n/.exec(head.toString('latin1', 0, length))?.[1];
}

function wrapper(commands: string): string {
  return `#!/bin/sh
job=$(mktemp -d '${commands}/job-XXXXXX') || exit 255
mkfifo "$job/end" || exit 255
exec 3<>"$job/end"
env -0 >"$job/environment"
for word; do printf '%s\\0' "$word"; done >"$job/arguments"
printf '%s\\n' "$job" >'${commands}/requests'
read -r code <&3
cat "$job/stdout"
cat "$job/stderr" >&2
rm -rf "$job"
exit "$code"
`;
}
