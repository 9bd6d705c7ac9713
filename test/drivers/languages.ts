/** The tests of drivers of another language: one database and one proxy for each language. */

import { test } from 'bun:test';
import { useBerth } from '../harness/berth.ts';
import { usePostgres } from '../harness/postgres.ts';
import { skipBecause } from '../harness/programs.ts';
import { compareRuns, DRIVER_TEST_DEADLINE_MS, expectNoPins, POOL_SIZE, pinCount } from './run.ts';
import type { Toolchain } from './toolchains.ts';

/** In seconds. Less than a program may take, so that a pool that nobody gives back to is told of. */
const BORROW_TIMEOUT = 20;

export interface DriverTest {
  /** The driver's name. */
  readonly name: string;
  /** The program's arguments, as the toolchain wants them. */
  readonly args: readonly string[];
}

/** One test for each program; all are skipped where the toolchain is missing. */
export function driverTests(toolchain: Toolchain, tests: readonly DriverTest[]): void {
  if ('missing' in toolchain) {
    for (const { name } of tests) skipBecause(toolchain.missing, name);
    return;
  }
  const database = usePostgres();
  const berth = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: POOL_SIZE, ConnectionBorrowTimeout: BORROW_TIMEOUT },
    expect: ['session.pinned'],
  }));
  for (const { name, args } of tests) {
    test(
      name,
      async () => {
        const before = await pinCount(berth());
        await compareRuns(toolchain.program(...args), database(), berth());
        await expectNoPins(berth(), before);
      },
      DRIVER_TEST_DEADLINE_MS,
    );
  }
}
