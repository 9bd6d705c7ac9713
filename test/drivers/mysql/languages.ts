/** As ../languages.ts, before each MySQL or MariaDB server. */

import { test } from 'bun:test';
import { describeServers } from '../../harness/mysql/server.ts';
import { skipBecause } from '../../harness/programs.ts';
import type { DriverTest } from '../languages.ts';
import { DRIVER_TEST_DEADLINE_MS } from '../run.ts';
import type { Toolchain } from '../toolchains.ts';
import { useDrivers } from './drivers.ts';

/** One test for each program and server; all are skipped where the toolchain is missing. */
export function mysqlDriverTests(toolchain: Toolchain, tests: readonly DriverTest[]): void {
  if ('missing' in toolchain) {
    for (const { name } of tests) skipBecause(toolchain.missing, name);
    return;
  }
  describeServers('a driver', (server) => {
    const compare = useDrivers(server);
    for (const { name, args } of tests) {
      const body = async () => {
        await compare(toolchain.program(...args));
      };
      test(name, body, DRIVER_TEST_DEADLINE_MS);
    }
  });
}
