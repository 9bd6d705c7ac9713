/** The demo's hold on the process of the clients (clients.ts). */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Assignment, type Outcome, type Progress, parseReport } from './messages.ts';

const PROGRAM = fileURLToPath(import.meta.resolve('./clients.ts'));
/** As in bin/berth: nothing depends on the folder that one happens to stand in. */
const BUN_OPTIONS = ['--no-install', '--no-env-file', '--config=/dev/null'];
const STDERR_LENGTH_MAX = 10_000;

export class ClientProcess implements AsyncDisposable {
  private readonly child: ChildProcess;
  private readonly ended: Promise<unknown>;
  private stderr = '';

  constructor() {
    this.child = spawn(process.execPath, [...BUN_OPTIONS, PROGRAM], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      serialization: 'json',
    });
    this.ended = once(this.child, 'exit').catch(() => undefined);
    this.child.stderr?.on('data', (chunk: Buffer) => {
      this.stderr = (this.stderr + chunk.toString()).slice(-STDERR_LENGTH_MAX);
    });
  }

  /** Lets the clients do their work; rejects when their process ends, or when `signal` says so. */
  run(
    assignment: Assignment,
    signal: AbortSignal,
    onProgress: (progress: Progress) => void,
  ): Promise<Outcome> {
    const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
    const receive = (message: unknown) => {
      const report = parseReport(message);
      if (report.kind === 'progress') onProgress(report.progress);
      else resolve(report.outcome);
    };
    const fail = () => reject(new Error(`the clients' process ended early\n${this.stderr}`.trim()));
    const abort = () => reject(signal.reason);
    this.child.on('message', receive);
    this.child.on('exit', fail);
    signal.addEventListener('abort', abort);
    if (signal.aborted) abort();
    else this.child.send(assignment);
    return promise.finally(() => {
      this.child.off('message', receive);
      this.child.off('exit', fail);
      signal.removeEventListener('abort', abort);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }
}
