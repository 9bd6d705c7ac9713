/**
 * One run of the `postgres` program: its process, its log, its end. Readiness and everything else
 * that a caller waits for is read from the log, line by line; nothing here polls.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { cleanEnvironment, spawnAs } from './account.ts';
import type { Installation } from './installation.ts';

const READY = 'database system is ready to accept connections';
const LOG_LENGTH_MAX = 4 * 1024 * 1024;

/** `smart` waits for clients, `fast` disconnects them, `immediate` does not even write a checkpoint. */
export type StopMode = 'smart' | 'fast' | 'immediate';

const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

/** PostgreSQL's log over all its runs, and whoever waits for a line of it. */
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

export class Postmaster {
  readonly #child: ChildProcess;
  /** Resolves when the process has ended and its log is complete. */
  readonly exited: Promise<void>;
  #isRunning = true;

  private constructor(child: ChildProcess, log: DatabaseLog) {
    this.#child = child;
    if (child.stderr === null) throw new Error('no log from postgres');
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
    installation: Installation,
    dataDirectory: string,
    args: readonly string[],
    options: { readonly log: DatabaseLog; readonly deadlineMs: number },
  ): Promise<Postmaster> {
    const child = spawn(`${installation.binDirectory}/postgres`, ['-D', dataDirectory, ...args], {
      ...spawnAs(installation.account),
      cwd: '/',
      env: cleanEnvironment(dataDirectory),
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const postmaster = new Postmaster(child, options.log);
    const isOver = new AbortController();
    const logLength = options.log.text.length;
    const ready = options.log.next(READY, options.deadlineMs, isOver.signal);
    void postmaster.exited.then(() =>
      isOver.abort(new StartFailure(options.log.text.slice(logLength))),
    );
    try {
      await ready;
    } catch (error) {
      postmaster.signal('SIGKILL');
      throw error;
    }
    return postmaster;
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('postgres did not start');
    return this.#child.pid;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#isRunning) this.#child.kill(signal);
  }

  /** Shuts down and waits for the end; past the deadline, kills. */
  async stop(mode: StopMode, deadlineMs: number): Promise<void> {
    this.signal(STOP_SIGNALS[mode]);
    const timer = setTimeout(() => this.signal('SIGKILL'), deadlineMs);
    await this.exited;
    clearTimeout(timer);
  }
}

/** PostgreSQL ended before it was ready. */
export class StartFailure extends Error {
  readonly isPortTaken: boolean;

  constructor(log: string) {
    super(`PostgreSQL did not start:\n${log}`);
    this.name = 'StartFailure';
    this.isPortTaken = log.includes('could not bind') && log.includes('in use');
  }
}
