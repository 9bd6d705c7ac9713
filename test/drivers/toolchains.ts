/**
 * Toolchains of other languages, where the machine has them. What their programs need is installed by
 * their own tools, at the versions in their own files, into a folder of this user's cache that
 * is named for the content of those files; so it happens once. If a tool is missing, or what it fetches
 * cannot be fetched, that is a reason to skip, not a failure. A program that does not compile fails.
 */

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { DriverProgram } from './run.ts';

const INSTALL_DEADLINE_MS = 240_000;
/** A failed installation is tried this often: two runs at once, a network that stumbles. */
const ATTEMPTS = 2;
/** What a tool says of its failure can be long. */
const PROBLEM_MAX = 200;

/** How to start a program with these arguments, or why that cannot be done here. */
export type Toolchain =
  | { readonly program: (...args: readonly string[]) => DriverProgram }
  | { readonly missing: string };

/** Python: the programs are the files of the folder. */
export function python(folder = join(import.meta.dir, 'python')): Toolchain {
  const python3 = Bun.which('python3');
  if (python3 === null) return { missing: 'no python3' };
  const version = run([python3, '-c', 'import sys; print(sys.version_info[:2], sys.platform)']);
  if (version.problem !== undefined) return { missing: 'no working python3' };
  const pip = [python3, '-m', 'pip', '--disable-pip-version-check', '--retries', '1'];
  if (run([...pip, '--version']).problem !== undefined) return { missing: 'no pip' };
  const requirements = join(folder, 'requirements.txt');
  const installed = installOnce('python', [version.output, contentOf(requirements)], (target) => [
    [...pip, 'install', '--quiet', '--target', target, '--requirement', requirements],
  ]);
  if ('missing' in installed) return installed;
  const environment = { PYTHONPATH: installed.folder, PYTHONDONTWRITEBYTECODE: '1' };
  return {
    program: (file = '', ...args) => ({
      command: [python3, join(folder, file), ...args],
      environment,
    }),
  };
}

/** Go: the folder is one program. */
export function go(folder = join(import.meta.dir, 'go')): Toolchain {
  if (Bun.which('go') === null) return { missing: 'no go' };
  // Another version of Go than the one that is here is not fetched.
  const environment = { GOTOOLCHAIN: 'local', GOFLAGS: '-buildvcs=false' };
  const download = run(['go', 'mod', 'download'], { folder, environment });
  if (download.problem !== undefined) return { missing: `no Go modules, ${download.problem}` };
  const content = ['go.sum', 'main.go'].map((file) => contentOf(join(folder, file)));
  const target = join(cacheFolder(), `go-${hash(content)}`);
  if (!existsSync(target)) {
    const partial = partialFolder('go');
    mustRun(['go', 'build', '-o', join(partial, 'driver'), '.'], { folder, environment });
    publish(partial, target);
  }
  const built = join(target, 'driver');
  return { program: (...args) => ({ command: [built, ...args] }) };
}

/** Java: one class, JdbcProgram, in the folder; Maven only fetches what it needs. */
export function java(folder = join(import.meta.dir, 'java')): Toolchain {
  if (Bun.which('java') === null || Bun.which('javac') === null) return { missing: 'no java' };
  if (run(['javac', '--release', '17', '-version']).problem !== undefined) {
    return { missing: 'no java 17 or later' };
  }
  if (Bun.which('mvn') === null) return { missing: 'no maven' };
  const pom = join(folder, 'pom.xml');
  const installed = installOnce('java', [contentOf(pom)], (target) => {
    const goal = 'dependency:copy-dependencies';
    return [['mvn', '-q', '-B', '-f', pom, goal, `-DoutputDirectory=${target}`]];
  });
  if ('missing' in installed) return installed;
  const source = join(folder, 'JdbcProgram.java');
  const classes = join(cacheFolder(), `java-classes-${hash([contentOf(source), contentOf(pom)])}`);
  const classPath = `${join(installed.folder, '*')}:${classes}`;
  if (!existsSync(classes)) {
    const partial = partialFolder('java');
    mustRun(['javac', '-encoding', 'UTF-8', '-cp', classPath, '-d', partial, source], { folder });
    publish(partial, classes);
  }
  return {
    program: (...args) => ({ command: ['java', '-cp', classPath, 'JdbcProgram', ...args] }),
  };
}

/** Fills a folder by the commands for it, unless there is one for the same content. */
function installOnce(
  language: string,
  content: readonly string[],
  commands: (target: string) => readonly (readonly string[])[],
): { readonly folder: string } | { readonly missing: string } {
  const folder = join(cacheFolder(), `${language}-${hash(content)}`);
  let missing = '';
  for (let attempt = 0; attempt < ATTEMPTS && !existsSync(folder); attempt++) {
    const partial = partialFolder(language);
    const failed = commands(partial).map((command) => run(command).problem);
    const problem = failed.find((text) => text !== undefined);
    if (problem === undefined) return { folder: publish(partial, folder) };
    rmSync(partial, { recursive: true, force: true });
    missing = `nothing installed for ${language}, ${problem}`;
  }
  return existsSync(folder) ? { folder } : { missing };
}

/** Puts a complete folder in its place. Who comes second uses what is there. */
function publish(partial: string, folder: string): string {
  try {
    renameSync(partial, folder);
  } catch (error) {
    if (!existsSync(folder)) throw error;
    rmSync(partial, { recursive: true, force: true });
  }
  return folder;
}

function partialFolder(language: string): string {
  return mkdtempSync(join(cacheFolder(), `partial-${language}-`));
}

function cacheFolder(): string {
  const folder = join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'berth-drivers');
  try {
    mkdirSync(folder, { recursive: true });
    return folder;
  } catch {
    // A home that cannot be written to: it lasts as long as other temporary files then.
    const temporary = join(tmpdir(), `berth-drivers-${process.getuid?.() ?? 0}`);
    mkdirSync(temporary, { recursive: true });
    return temporary;
  }
}

function contentOf(file: string): string {
  return readFileSync(file, 'utf8');
}

function hash(content: readonly string[]): string {
  return createHash('sha256').update(content.join('\n')).digest('hex').slice(0, 16);
}

interface RunOptions {
  readonly folder?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** Runs a command to its end. `problem` is the last line that it said, if it failed. */
function run(
  [command = '', ...args]: readonly string[],
  { folder = import.meta.dir, environment = {} }: RunOptions = {},
): { readonly output: string; readonly problem: string | undefined } {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    cwd: folder,
    env: { ...process.env, ...environment },
    encoding: 'utf8',
    timeout: INSTALL_DEADLINE_MS,
  });
  if (error !== undefined) return { output: '', problem: `${command} does not start` };
  const lines = `${stdout}\n${stderr}`.split('\n').filter((line) => /\w/.test(line));
  // A colon ends the reason of a skipped test.
  const said = (lines.at(-1) ?? `code ${status}`).replaceAll(':', ' ').slice(0, PROBLEM_MAX);
  return { output: stdout, problem: status === 0 ? undefined : said };
}

function mustRun(command: readonly string[], options: RunOptions): void {
  const { problem, output } = run(command, options);
  if (problem !== undefined) throw new Error(`${command.join(' ')}\n${output}${problem}`);
}
