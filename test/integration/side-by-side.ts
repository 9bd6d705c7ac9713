/** The same messages sent directly to the database and through the proxy: the answers must be equal. */

import { expect } from 'bun:test';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { type BackendMessage, formatMessage } from '../harness/backend-messages.ts';
import type { Berth } from '../harness/berth.ts';
import { untilMetric } from '../harness/polling.ts';
import { RawClient } from '../harness/raw-client.ts';

/** Messages of one write, and what the client waits for before the next: `Z`, or `2Z`. */
export type Step = readonly [messages: readonly Uint8Array[], wait: string];

export function loginDirectly(database: EmbeddedPostgres): Promise<RawClient> {
  const login = { user: 'app', password: 'app-password', database: 'app' };
  return RawClient.login({ port: database.port }, login);
}

export async function play(client: RawClient, steps: readonly Step[]): Promise<string[]> {
  const answers: BackendMessage[] = [];
  for (const [messages, wait] of steps) {
    client.send(...messages);
    const count = Number.parseInt(wait, 10);
    if (wait !== '') answers.push(...(await client.until(wait.slice(-1), count > 0 ? count : 1)));
  }
  return answers.map(formatMessage);
}

/** Plays the steps on both and compares. Returns the answers. */
export async function compare(
  database: EmbeddedPostgres,
  berth: Berth,
  steps: readonly Step[],
): Promise<string[]> {
  using direct = await loginDirectly(database);
  using client = await berth.login();
  const expected = await play(direct, steps);
  const answers = await play(client, steps);
  expect(answers).toEqual(expected);
  await direct.end();
  await client.end();
  return answers;
}

/** The proxy has every connection back, and nobody waits. */
export async function untilAllReturned(berth: Berth): Promise<void> {
  await untilMetric(berth, 'database_connections_currently_borrowed', 0);
  await untilMetric(berth, 'database_connections_currently_session_pinned', 0);
}

/** Takes the connection that was used last, so that whoever comes next gets another. */
export class Jostler implements Disposable {
  readonly #clients: RawClient[];
  #turn = 0;

  private constructor(clients: RawClient[]) {
    this.#clients = clients;
  }

  static async start(berth: Berth, count: number): Promise<Jostler> {
    return new Jostler(await Promise.all(Array.from({ length: count }, () => berth.login())));
  }

  async push(): Promise<void> {
    const next = this.#clients[this.#turn++ % this.#clients.length];
    await next?.query('rollback');
    await next?.query('begin');
  }

  async end(): Promise<void> {
    for (const client of this.#clients) await client.end();
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client.destroy();
  }
}
