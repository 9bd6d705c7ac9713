/**
 * Runs `bin/berth serve` for a test, as the process that users run. Ready when all endpoints and the API
 * listen, by their log lines. `stop` ends it the way an operator would and then judges the log: a warning or
 * an error that the test did not announce fails the test.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Keeper, keepFolder } from '../../src/embedded/keeper.ts';
import { ADVERSARY_VARIABLE, type AdversaryMode } from '../adversarial/modes.ts';
import { ADVERSARIAL_LAUNCHER, adversaryModes } from './adversary.ts';
import {
  type Configuration,
  type ConfigurationOptions,
  makeConfiguration,
  withPorts,
} from './configuration.ts';
import { Arrivals, EVENT_DEADLINE_MS, within } from './deadline.ts';
import { GrowingFile } from './growing-file.ts';
import { START_DEADLINE_MS, TEST_USERS } from './postgres.ts';
import { type LoginOptions, RawClient } from './raw-client.ts';
import { useShared } from './shared.ts';

const LAUNCHER = join(import.meta.dir, '..', '..', 'bin', 'berth');
/** Below the ports of test databases, and of outgoing connections. */
const PORT_MIN = 5_500;
const PORT_MAX = 15_000;
const START_ATTEMPTS = 10;
/** Where a proxy keeps what it makes for itself, unless its test says so. */
const STATE_FOLDER = 'kept';
/** What it makes when there is none: files that belong together. */
const KEY_FILES = [
  ['ca.pem', 'ca.crt'],
  ['password-key.pem', 'password-key.pub.pem'],
] as const;
/** How often the log is looked at while a test waits for it. */
const LOOK_AGAIN_MS = 10;

export type LogLevel = 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** A line of the log. What is not JSON is an error of its own: a stack trace, for example. */
export interface LogLine {
  readonly level: string;
  readonly event: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** Which log lines: by the name of the event, by a pattern of the whole line, or by any rule. */
export type LogPattern = string | RegExp | ((line: LogLine) => boolean);

export type BerthOptions = (
  | ConfigurationOptions
  | { readonly configuration: Configuration; readonly database?: undefined }
) & {
  /** Warnings and errors that are part of the test. */
  readonly expect?: readonly LogPattern[];
  readonly logLevel?: LogLevel;
  readonly environment?: Readonly<Record<string, string>>;
  /** Texts by the names of files beside the configuration, there before the start. */
  readonly files?: Readonly<Record<string, string>>;
  /** `ulimit -n` for the process. */
  readonly openFilesMax?: number;
  /** What an adversary inside of it does; default: what is said for the test file, mostly nothing. */
  readonly adversary?: readonly AdversaryMode[];
};

export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export class Berth {
  readonly configuration: Configuration;
  readonly #folder: string;
  readonly #keeper: Keeper;
  readonly #child: ChildProcess;
  readonly #output: GrowingFile;
  readonly #lines = new Arrivals<LogLine>();
  readonly #expected: LogPattern[];
  readonly #end = Promise.withResolvers<ProcessEnd>();
  #isRunning = true;

  private constructor(configuration: Configuration, options: BerthOptions) {
    this.configuration = configuration;
    this.#expected = [...(options.expect ?? [])];
    this.#folder = mkdtempSync(join(tmpdir(), 'berth-test-'));
    this.#keeper = keepFolder(this.#folder);
    this.#writeConfiguration(configuration);
    this.#takeKeys();
    for (const [name, text] of Object.entries(options.files ?? {})) this.writeFile(name, text);
    const args = ['--config', this.configurationFile, '--log-format', 'json'];
    const { openFilesMax } = options;
    const setLimit = openFilesMax === undefined ? '' : `ulimit -n ${openFilesMax}; `;
    const command = ['serve', ...args, '--log-level', options.logLevel ?? 'debug'];
    // Not a pipe: Bun at times stops reading one for good when the machine is busy.
    const logFile = join(this.#folder, 'berth.log');
    const output = openSync(logFile, 'a');
    this.#output = new GrowingFile(logFile);
    const { adversary = adversaryModes() } = options;
    const launcher = adversary.length === 0 ? LAUNCHER : ADVERSARIAL_LAUNCHER;
    this.#child = spawn('sh', ['-c', `${setLimit}exec "$0" "$@"`, launcher, ...command], {
      cwd: this.#folder,
      env: { ...process.env, [ADVERSARY_VARIABLE]: adversary.join(), ...options.environment },
      stdio: ['ignore', output, output],
    });
    closeSync(output);
    writeFileSync(join(this.#folder, 'process.pid'), `${this.#child.pid}\n`);
    this.#watch();
  }

  /** Starts a proxy on free ports and waits until it listens on all of them. */
  static async start(options: BerthOptions, takePort = randomPort): Promise<Berth> {
    for (let attempt = 1; ; attempt++) {
      const berth = Berth.launch(options, takePort);
      try {
        await berth.#untilListening();
        berth.#shareKeys();
        return berth;
      } catch (error) {
        const isPortTaken = berth.logText.includes('in use');
        await berth.kill();
        if (!isPortTaken || attempt === START_ATTEMPTS) throw error;
      }
    }
  }

  /** Writes a file beside the configuration. Returns its name, as the configuration may say it. */
  writeFile(name: string, text: string): string {
    writeFileSync(join(this.#folder, name), text);
    return name;
  }

  /** Starts the process only: for tests of what happens before it is ready, or instead. */
  static launch(options: BerthOptions, takePort = randomPort): Berth {
    const configuration =
      options.database === undefined ? options.configuration : makeConfiguration(options);
    return new Berth(withPorts(configuration, takePort), options);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the proxy did not start');
    return this.#child.pid;
  }

  get configurationFile(): string {
    return join(this.#folder, 'berth.yaml');
  }

  /** The port of a proxy's default endpoint; default: the first proxy. */
  get port(): number {
    return this.ports[0] ?? 0;
  }

  /** The ports of all endpoints, in the order of the file. */
  get ports(): number[] {
    return listenPorts(this.configuration.DBProxies);
  }

  get apiUrl(): string {
    return `http://127.0.0.1:${listenPorts(this.configuration.Api)[0]}`;
  }

  /** Resolves when the process has ended and its log is complete. */
  get ended(): Promise<ProcessEnd> {
    return this.#end.promise;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** The lines that have been written up to now. */
  get log(): readonly LogLine[] {
    this.#keep(this.#output.takeLines());
    return this.#lines.all;
  }

  get logText(): string {
    return this.log.map((line) => JSON.stringify(line)).join('\n');
  }

  /** The lines so far that match. */
  logged(pattern: LogPattern): LogLine[] {
    return this.log.filter((line) => matches(line, pattern));
  }

  /** Resolves when `count` lines have matched, those before the call included. */
  async untilLogged(
    pattern: LogPattern,
    count = 1,
    deadlineMs = EVENT_DEADLINE_MS,
  ): Promise<LogLine[]> {
    const look = setInterval(() => this.#keep(this.#output.takeLines()), LOOK_AGAIN_MS);
    try {
      return await this.#lines.until(
        () => {
          const lines = this.logged(pattern);
          if (lines.length >= count) return lines;
          if (!this.#isRunning) throw new Error(`the proxy ended\n${this.logText}`);
          return undefined;
        },
        () => `${count} log line(s) ${pattern}\n${this.#tail()}`,
        deadlineMs,
      );
    } finally {
      clearInterval(look);
    }
  }

  /** Announces warnings and errors that are part of the test. */
  expectLog(...patterns: readonly LogPattern[]): void {
    this.#expected.push(...patterns);
  }

  /** The warnings and errors that nobody announced. */
  unexpectedLog(): LogLine[] {
    return this.log.filter(
      (line) =>
        (line.level === 'warn' || line.level === 'error' || line.level === 'fatal') &&
        !this.#expected.some((pattern) => matches(line, pattern)),
    );
  }

  assertCleanLog(): void {
    const lines = this.unexpectedLog();
    if (lines.length === 0) return;
    const text = lines.map((line) => JSON.stringify(line)).join('\n');
    throw new Error(`the proxy logged what the test did not announce:\n${text}`);
  }

  /** Logs a client in. Default: the user `app`. */
  login(options: Partial<LoginOptions> & { readonly port?: number } = {}): Promise<RawClient> {
    const user = options.user ?? 'app';
    const password = TEST_USERS.find((entry) => entry.name === user)?.password ?? '';
    const address = { port: options.port ?? this.port };
    return RawClient.login(address, { database: 'app', password, ...options, user });
  }

  /** Asks the HTTP API. */
  fetch(path: string): Promise<Response> {
    return within(fetch(this.apiUrl + path), `an answer to ${path}`);
  }

  /** All samples of /metrics, by their name and labels as written: `name{a="b"}`. */
  async metrics(): Promise<Map<string, number>> {
    const response = await this.fetch('/metrics');
    const samples = new Map<string, number>();
    for (const line of (await response.text()).split('\n')) {
      const split = line.lastIndexOf(' ');
      if (!line.startsWith('#') && split > 0) {
        samples.set(line.slice(0, split), Number(line.slice(split + 1)));
      }
    }
    return samples;
  }

  /** The sum of a metric over all its labels, or over those that contain each of the given pairs. */
  async metric(name: string, labels: Readonly<Record<string, string>> = {}): Promise<number> {
    const pairs = Object.entries(labels).map(([key, value]) => `${key}="${value}"`);
    let sum = 0;
    for (const [sample, value] of await this.metrics()) {
      const isNamed = sample === name || sample.startsWith(`${name}{`);
      if (isNamed && pairs.every((pair) => sample.includes(pair))) sum += value;
    }
    return sum;
  }

  /** Memory that the process has in use, in bytes. Linux only. */
  residentBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Writes another configuration and has it read. Ports stay if the new one says 0 nowhere. */
  async reload(configuration: Configuration): Promise<void> {
    const count = this.logged('configuration.applied').length;
    this.#writeConfiguration(configuration);
    this.signal('SIGHUP');
    await this.untilLogged('configuration.applied', count + 1);
  }

  /** Stops as an operator would, and fails when it does not end well or logged something unexpected. */
  async stop(deadlineMs = EVENT_DEADLINE_MS): Promise<void> {
    this.signal('SIGTERM');
    try {
      const end = await within(
        this.ended,
        () => `the end of the proxy\n${this.#tail()}`,
        deadlineMs,
      );
      if (end.code !== 0) {
        throw new Error(`the proxy ended with ${end.signal ?? end.code}\n${this.#tail()}`);
      }
      this.assertCleanLog();
    } finally {
      await this.kill();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Ends the process at once, without judging it. */
  async kill(): Promise<void> {
    if (this.#isRunning) this.signal('SIGKILL');
    await this.ended;
    rmSync(this.#folder, { recursive: true, force: true });
    this.#keeper.release();
  }

  async #untilListening(): Promise<void> {
    await this.untilLogged('endpoint.listening', this.ports.length, START_DEADLINE_MS);
    // The last to listen, and only if its port is free: until then the process may still end.
    if (listenPorts(this.configuration.Api).length === 0) return;
    await this.untilLogged('api.listening', 1, START_DEADLINE_MS);
  }

  #writeConfiguration(configuration: Configuration): void {
    // JSON is YAML.
    const text = JSON.stringify({ StateDirectory: STATE_FOLDER, ...configuration }, undefined, 2);
    writeFileSync(this.configurationFile, `${text}\n`);
  }

  /** To make keys takes a while, so a test run makes them once. The rest of the state is each process's own. */
  #takeKeys(): void {
    for (const shared of sharedKeys()) {
      const { folder } = shared;
      if (existsSync(folder)) cpSync(folder, this.#stateFolder, { recursive: true });
    }
  }

  #shareKeys(): void {
    for (const { folder, files } of sharedKeys()) {
      const own = files.map((name) => join(this.#stateFolder, name));
      if (existsSync(folder) || !own.every((file) => existsSync(file))) continue;
      const partial = mkdtempSync(`${folder}-`);
      for (const file of own) cpSync(file, join(partial, basename(file)));
      try {
        renameSync(partial, folder);
      } catch {
        // Somebody else was faster.
        rmSync(partial, { recursive: true, force: true });
      }
    }
  }

  get #stateFolder(): string {
    return join(this.#folder, STATE_FOLDER);
  }

  #watch(): void {
    this.#child.on('error', () => this.#finish({ code: null, signal: null }));
    this.#child.on('exit', (code, signal) => this.#finish({ code, signal }));
  }

  #keep(lines: readonly string[]): void {
    for (const line of lines) this.#lines.all.push(parseLine(line));
    if (lines.length > 0) this.#lines.wake();
  }

  #finish(end: ProcessEnd): void {
    this.#isRunning = false;
    this.#keep(this.#output.close());
    this.#end.resolve(end);
    this.#lines.wake();
  }

  #tail(): string {
    return this.log
      .slice(-30)
      .map((line) => JSON.stringify(line))
      .join('\n');
  }
}

/** One proxy for all tests of the file or `describe` that calls it. Call the result inside tests. */
export function useBerth(options: () => BerthOptions): () => Berth {
  return useShared({
    name: 'the proxy',
    start: () => Berth.start(options()),
    stop: (berth) => berth.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
}

/** Where the keys of this test run are, as soon as somebody has made them. */
function sharedKeys(): { readonly folder: string; readonly files: readonly string[] }[] {
  const shared = process.env.BERTH_TEST_TEMPLATES;
  if (shared === undefined) return [];
  return KEY_FILES.map((files) => ({ folder: join(shared, `keys-${files[0]}`), files }));
}

function randomPort(): number {
  return PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
}

function matches(line: LogLine, pattern: LogPattern): boolean {
  if (typeof pattern === 'string') return line.event === pattern;
  return pattern instanceof RegExp ? pattern.test(JSON.stringify(line)) : pattern(line);
}

function parseLine(text: string): LogLine {
  try {
    const line: unknown = JSON.parse(text);
    if (typeof line === 'object' && line !== null) {
      return { level: 'error', event: 'unnamed', msg: '', ...line };
    }
  } catch {
    // Not JSON: see below.
  }
  return { level: 'error', event: 'unstructured', msg: text };
}

/** The ports of all `Listen` properties below a value, in their order. */
function listenPorts(value: unknown): number[] {
  const ports: number[] = [];
  JSON.stringify(value, (key, inner: unknown) => {
    if (key === 'Listen' && typeof inner === 'string') {
      // Of host:port, or of a Unix socket's name.
      ports.push(Number(/\d+$/.exec(inner)?.[0]));
    }
    return inner;
  });
  return ports;
}
