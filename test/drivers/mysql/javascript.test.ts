/** mysql2, the connector of MariaDB and Drizzle on Node.js, with the settings that they have by themselves. */

import { afterAll, beforeAll, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describeServers } from '../../harness/mysql/server.ts';
import { DRIVER_TEST_DEADLINE_MS, type DriverProgram } from '../run.ts';
import { useDrivers } from './drivers.ts';

setDefaultTimeout(DRIVER_TEST_DEADLINE_MS);

const FOLDER = join(import.meta.dir, 'javascript');
const PROGRAMS = ['mysql2', 'mariadb', 'drizzle'] as const;

let bundles = '';

/** Node.js runs no TypeScript in every version that we support, so each program becomes one file. */
beforeAll(async () => {
  bundles = mkdtempSync(join(tmpdir(), 'berth-drivers-'));
  const { success, logs } = await Bun.build({
    entrypoints: PROGRAMS.map((name) => join(FOLDER, `${name}.ts`)),
    target: 'node',
    naming: '[name].mjs',
    outdir: bundles,
  });
  if (!success) throw new AggregateError(logs, 'the programs cannot be bundled');
});

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

function program(name: (typeof PROGRAMS)[number]): DriverProgram {
  return { command: ['node', join(bundles, `${name}.mjs`), join(FOLDER, 'migrations')] };
}

describeServers('a driver', (server) => {
  const compare = useDrivers(server);

  test('drizzle', async () => {
    await compare(program('drizzle'));
  });

  test('mysql2, whose procedures have no result of OUT parameters', async () => {
    await compare(program('mysql2'));
  });

  test('mariadb, which is not pinned by a text that fails', async () => {
    await compare(program('mariadb'));
  });
});
