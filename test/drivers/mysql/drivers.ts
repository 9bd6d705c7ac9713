/** One database and one proxy for the drivers of a language, and what must hold of each of its programs. */

import { useBerth } from '../../harness/berth.ts';
import { makeMysqlConfiguration } from '../../harness/mysql/configuration.ts';
import { type MysqlServer, useMysql } from '../../harness/mysql/server.ts';
import { type DriverProgram, expectNoPins, POOL_SIZE, pinCount } from '../run.ts';
import { compareMysqlRuns } from './run.ts';

/** In seconds. Less than a program may take, so that a pool that nobody gives back to is told of. */
const BORROW_TIMEOUT = 20;

/** Runs a program directly and through the proxy: what it prints is equal, and nothing is pinned. */
export function useDrivers(server: MysqlServer): (program: DriverProgram) => Promise<string[]> {
  const database = useMysql(server);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), {
      pool: { MaxConnections: POOL_SIZE, ConnectionBorrowTimeout: BORROW_TIMEOUT },
    }),
    expect: ['session.pinned'],
  }));
  return async (program) => {
    const before = await pinCount(berth());
    const lines = await compareMysqlRuns(program, database(), berth());
    await expectNoPins(berth(), before);
    return lines;
  };
}
