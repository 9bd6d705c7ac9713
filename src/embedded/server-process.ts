/**
 * One run of a database server's program: its process, its log, its end. Readiness and everything else
 * that a caller waits for is read from the log, line by line; nothing here polls.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { type Account, spawnAs } from './account.ts';

const LOG_LENGTH_MAX = 4 * 1024 * 1024;

/** A server's log over all its runs, and whoever waits for a line of it. */
export class DatabaseLog {
  #text = '';
  readonly #waiters = new Set<(line: string) => void>();

  get text(): string {
    return this.#text;
  }

  append(line: string): void {
    this.#text = `${this.#text}${line}\n`.slice(-LOG_LENGTH_MAX);
    for (const waiter of [...this.#waiters]) waiter(line);
  }

  /**
   * Resolves with the first line from now on that contains the text or matches the pattern; rejects
   * at the deadline, or when the signal says that nobody waits any more.
   */
  next(pattern: string | RegExp, deadlineMs: number, signal?: AbortSignal): Promise<string> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter = (line: string) => {
        if (!matches(line, pattern)) return;
        leave();
        resolve(line);
      };
      const timer = setTimeout(() => {
        leave();
        reject(new Error(`no line with ${pattern} in the database's log:\n${this.#text}`));
      }, deadlineMs);
      signal?.addEventListener('abort', () => {
        leave();
        reject(signal.reason);
      });
      this.#waiters.add(waiter);
    });
  }
}

function matches(line: string, pattern: string | RegExp): boolean {
  return typeof pattern === 'string' ? line.includes(pattern) : pattern.test(line);
}

/** How a server's program is run. */
export interface ServerProgram {
  /** For messages: `PostgreSQL`. */
  readonly product: string;
  readonly command: readonly [string, ...string[]];
  readonly account: Account | undefined;
  readonly environment: Readonly<Record<string, string>>;
  /** In the line of the log that says that it accepts connections. */
  readonly ready: string | RegExp;
}

export class ServerProcess {
  readonly #child: ChildProcess;
  /** Resolves when the process has ended and its log is complete. */
  readonly exited: Promise<void>;
  #isRunning = true;

  private constructor(child: ChildProcess, log: DatabaseLog) {
    this.#child = child;
    if (child.stderr === null) throw new Error('no log from the database');
    createInterface({ input: child.stderr }).on('line', (line) => log.append(line));
    this.exited = new Promise((resolve) => {
      child.on('close', () => {
        this.#isRunning = false;
        resolve();
      });
      child.on('error', (error) => {
        this.#isRunning = false;
        log.append(`cannot start: ${error.message}`);
        resolve();
      });
    });
  }

  /** Starts the program and waits until it accepts connections, or ends, or the deadline passes. */
  static async start(
    program: ServerProgram,
    options: {
      readonly log: DatabaseLog;
      readonly deadlineMs: number;
      /** Called with the process id as soon as there is one. */
      readonly onSpawn?: (pid: number) => void;
    },
  ): Promise<ServerProcess> {
    const { log, deadlineMs, onSpawn } = options;
    const [file, ...args] = program.command;
    const child = spawn(file, args, {
      ...spawnAs(program.account),
      cwd: '/',
      env: program.environment,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    if (child.pid !== undefined) onSpawn?.(child.pid);
    const server = new ServerProcess(child, log);
    const isOver = new AbortController();
    const logLength = log.text.length;
    const ready = log.next(program.ready, deadlineMs, isOver.signal);
    void server.exited.then(() =>
      isOver.abort(new StartFailure(program.product, log.text.slice(logLength))),
    );
    try {
      await ready;
    } catch (error) {
      server.signal('SIGKILL');
      throw error;
    }
    return server;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('the database did not start');
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#isRunning) this.#child.kill(signal);
  }

  /**
   * Signals it and all processes that it has started, itself first, so that it starts no more of them when the
   * signal stops or kills it. Linux only.
   */
  signalAll(signal: NodeJS.Signals): void {
    const children = this.#isRunning ? childrenOf(this.pid) : [];
    this.signal(signal);
    for (const pid of children) signalProcess(pid, signal);
    if (!this.#isRunning) return;
    // Those that were started while we looked.
    for (const pid of childrenOf(this.pid)) {
      if (!children.includes(pid)) signalProcess(pid, signal);
    }
  }

  /** Asks it to end by a signal and waits for the end; past the deadline, kills. */
  async stop(signal: NodeJS.Signals, deadlineMs: number): Promise<void> {
    this.signal(signal);
    const timer = setTimeout(() => this.signal('SIGKILL'), deadlineMs);
    await this.exited;
    clearTimeout(timer);
  }
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended.
  }
}

/** https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html */
function childrenOf(parent: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => parentOf(pid) === parent);
}

function parentOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name of the program, in parentheses, may have any character; after it come the state and the parent.
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(parent);
  } catch {
    return undefined;
  }
}

/** A server ended before it was ready. */
export class StartFailure extends Error {
  readonly log: string;

  constructor(product: string, log: string) {
    super(`${product} did not start:\n${log}`);
    this.name = 'StartFailure';
    this.log = log;
  }
}

/** Below the range from which systems take the ports of outgoing connections. */
const PORT_MIN = 15_000;
const PORT_MAX = 30_000;
const PORT_ATTEMPTS = 20;

/**
 * Starts a server on a free port. The server itself finds out whether a port is free, and keeps it: asking
 * first and binding later is a race.
 */
export async function startOnFreePort<T>(
  start: (port: number) => Promise<T>,
  isPortTaken: (log: string) => boolean,
): Promise<{ readonly port: number; readonly server: T }> {
  for (let attempt = 1; ; attempt++) {
    const port = PORT_MIN + Math.floor(Math.random() * (PORT_MAX - PORT_MIN));
    try {
      return { port, server: await start(port) };
    } catch (error) {
      const isTaken = error instanceof StartFailure && isPortTaken(error.log);
      if (!isTaken || attempt === PORT_ATTEMPTS) throw error;
    }
  }
}
