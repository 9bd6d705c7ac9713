/** How many connections a MySQL or MariaDB had at once, at most, by its own count. */

import type { EmbeddedMysql } from '../../../src/embedded/mysql.ts';
import type { Berth } from '../berth.ts';
import { eventually } from '../polling.ts';
import { MysqlRawClient } from './raw-client.ts';

export class MostConnections {
  /** For questions meanwhile: it does not count. */
  readonly client: MysqlRawClient;

  private constructor(client: MysqlRawClient) {
    this.client = client;
  }

  /**
   * Counts those of `berth` from here on. Nobody else may log in meanwhile; whoever did before is waited
   * for, because a server counts a connection for a while after its client has left.
   */
  static async count(database: EmbeddedMysql, berth: Berth): Promise<MostConnections> {
    const { socketPath } = database;
    const client = await MysqlRawClient.login({ socketPath }, { user: 'root' });
    const counted = new MostConnections(client);
    await eventually(
      async () => ((await counted.#others(berth)) === 0 ? true : undefined),
      'the database counts nobody but the proxy',
    );
    await client.rows('flush status');
    return counted;
  }

  async #others(berth: Berth): Promise<number> {
    const pooled = await berth.metric('database_connections');
    return (await this.#status('Threads_connected')) - 1 - pooled;
  }

  /** Without the one that asks. */
  async most(): Promise<number> {
    return (await this.#status('Max_used_connections')) - 1;
  }

  async #status(name: string): Promise<number> {
    const [[, value] = []] = await this.client.rows(`show global status like '${name}'`);
    return Number(value);
  }

  [Symbol.dispose](): void {
    this.client.destroy();
  }
}
