/** Plays a case against an address and writes down what came back. */

import * as frontend from '../harness/frontend-messages.ts';
import { type Address, type LoginOptions, RawClient } from '../harness/raw-client.ts';
import type { Case, Step } from './steps.ts';
import { Transcript } from './transcript.ts';

const FIRST_SESSION = 'a';

export interface RunOptions {
  readonly address: Address;
  readonly login: LoginOptions;
}

export async function runCase({ steps }: Case, options: RunOptions): Promise<string> {
  const player = new Player(options);
  try {
    for (const step of steps) await player.play(step);
    return await player.finish();
  } finally {
    player.destroy();
  }
}

class Player {
  readonly #options: RunOptions;
  readonly #sessions = new Map<string, RawClient>();
  readonly #transcript = new Transcript();
  #name = FIRST_SESSION;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  async play(step: Step): Promise<void> {
    switch (step.kind) {
      case 'session':
        this.#name = step.name;
        return;
      case 'reconnect':
        return this.#end(this.#name);
      case 'send':
        return this.#send(step.bytes, step.split);
      case 'until':
        return this.#record((client) => client.until(step.type, step.count));
      case 'closed':
        await this.#record((client) => client.untilClosed());
        this.#transcript.note(this.#name, '(closed)');
        this.#sessions.delete(this.#name);
        return;
      case 'cancel':
        return (await this.#session()).cancel();
      case 'query':
        return this.#query(step.sql, step.copyData);
    }
  }

  /** Ends all sessions. Anything that arrived and nobody asked for is part of the transcript. */
  async finish(): Promise<string> {
    for (const name of [...this.#sessions.keys()]) await this.#end(name);
    return this.#transcript.text;
  }

  destroy(): void {
    for (const client of this.#sessions.values()) client.destroy();
  }

  async #session(): Promise<RawClient> {
    const open = this.#sessions.get(this.#name);
    if (open !== undefined) return open;
    const client = await RawClient.login(this.#options.address, this.#options.login);
    this.#sessions.set(this.#name, client);
    return client;
  }

  async #end(name: string): Promise<void> {
    const client = this.#sessions.get(name);
    if (client === undefined) return;
    this.#sessions.delete(name);
    await client.end();
    for (const message of client.unread) this.#transcript.add(name, message);
  }

  async #send(bytes: Buffer, split: readonly number[]): Promise<void> {
    const client = await this.#session();
    const [first, ...others] = split;
    if (first === undefined) client.send(bytes);
    else await client.sendSplit(bytes, first, ...others);
  }

  async #record(read: (client: RawClient) => ReturnType<RawClient['until']>): Promise<void> {
    for (const message of await read(await this.#session())) {
      this.#transcript.add(this.#name, message);
    }
  }

  async #query(sql: string, copyData: string | undefined): Promise<void> {
    const client = await this.#session();
    client.send(frontend.query(sql));
    for (;;) {
      const message = await client.next();
      this.#transcript.add(this.#name, message);
      if (message.type === 'G') client.send(...copyAnswer(copyData));
      if (message.type === 'Z') return;
    }
  }
}

function copyAnswer(copyData: string | undefined): Buffer[] {
  if (copyData === undefined) return [frontend.copyFail('the case has no data')];
  return [frontend.copyData(copyData), frontend.copyDone()];
}
