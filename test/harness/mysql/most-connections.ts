/** How many connections a MySQL or MariaDB had at once, at most, by its own count. */

import type { EmbeddedMysql } from '../../../src/embedded/mysql.ts';
import { MysqlRawClient } from './raw-client.ts';

export class MostConnections {
  /** For questions meanwhile: it does not count. */
  readonly client: MysqlRawClient;

  private constructor(client: MysqlRawClient) {
    this.client = client;
  }

  /** Counts from here on. Nobody but whom it is about may log in meanwhile. */
  static async count(database: EmbeddedMysql): Promise<MostConnections> {
    const { socketPath } = database;
    const client = await MysqlRawClient.login({ socketPath }, { user: 'root' });
    await client.rows('flush status');
    return new MostConnections(client);
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
