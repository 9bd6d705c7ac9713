/**
 * `npm run soak -- --engine mariadb --load sysbench`: 200 threads of sysbench on a pool of 16, each script with
 * prepared statements and without, `--minutes` in all.
 */

import type { MysqlProduct } from '../../../src/embedded/mysql.ts';
import { Berth } from '../../harness/berth.ts';
import { makeMysqlConfiguration } from '../../harness/mysql/configuration.ts';
import { availableServers, startMysql } from '../../harness/mysql/server.ts';
import { loadWithSysbench, SYSBENCH_SCRIPTS } from '../../harness/mysql/sysbench.ts';
import type { Findings } from '../findings.ts';

const THREADS = 200;
const POOL_SIZE = 16;
const SECONDS_PER_MINUTE = 60;
const WAYS = SYSBENCH_SCRIPTS.flatMap((script) => [
  { script, isPrepared: false },
  { script, isPrepared: true },
]);

/** False: the machine has no such server. */
export async function soakWithSysbench(
  { product, minutes }: { readonly product: MysqlProduct; readonly minutes: number },
  findings: Findings,
  say: (line: string) => void,
): Promise<boolean> {
  const server = availableServers().find((each) => each.product === product);
  if (server === undefined) return false;
  const database = await startMysql(server);
  try {
    const pool = { MaxConnections: POOL_SIZE };
    const configuration = makeMysqlConfiguration(database, { pool });
    const berth = await Berth.start({ configuration, logLevel: 'info' });
    try {
      const seconds = Math.ceil((minutes * SECONDS_PER_MINUTE) / WAYS.length);
      const place = { database, berth, poolSize: POOL_SIZE, threads: THREADS, seconds };
      for (const way of WAYS) {
        const { transactions, wrong } = await loadWithSysbench({ ...place, ...way });
        const name = `${way.script}${way.isPrepared ? ', prepared' : ''}`;
        say(`${name}: ${transactions} transactions in ${seconds} s`);
        for (const words of wrong) findings.violation('aftermath', `${name}: ${words}`);
      }
      const pins = berth.logged('session.pinned').length;
      if (pins > 0) findings.violation('aftermath', `${pins} pins`);
    } finally {
      await berth.kill();
    }
  } finally {
    await database.stop();
  }
  return true;
}
