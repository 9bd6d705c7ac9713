/**
 * What ends the demo before its time: Ctrl-C and its relatives, and whatever makes it pointless to
 * go on. The first signal asks everything to come to an end and be cleaned up; the second leaves at
 * once, and the keeper of the data directory does the cleaning.
 */

import { once } from 'node:events';
import { EXIT } from '../command-line.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** The reason of the signal: somebody asked us to stop. */
export class Interrupted extends Error {
  constructor(cause: string) {
    super(`stopped by ${cause}`);
    this.name = 'Interrupted';
  }
}

export class Interruption implements Disposable {
  private readonly controller = new AbortController();
  private readonly onSignal = (signal: NodeJS.Signals) => {
    if (this.controller.signal.aborted) process.exit(EXIT.failed);
    this.controller.abort(new Interrupted(signal));
  };
  /** Whoever read what we say has gone: `berth demo | head`. */
  private readonly onOutputError = () => this.controller.abort(new Interrupted('its reader'));

  constructor() {
    for (const signal of SIGNALS) process.on(signal, this.onSignal);
    process.stdout.on('error', this.onOutputError);
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  get isAsked(): boolean {
    return this.signal.reason instanceof Interrupted;
  }

  /** Resolves when somebody asks us to stop; rejects when there is another reason to. */
  async asked(): Promise<void> {
    const { signal } = this;
    if (!signal.aborted) await once(signal, 'abort');
    if (!this.isAsked) throw signal.reason;
  }

  /** There is no point in going on. */
  abort(reason: Error): void {
    this.controller.abort(reason);
  }

  [Symbol.dispose](): void {
    for (const signal of SIGNALS) process.off(signal, this.onSignal);
  }
}
