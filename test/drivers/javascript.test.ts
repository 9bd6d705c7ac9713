/** node-postgres, postgres.js and Drizzle on Node.js, with the settings that they have by themselves. */

import { afterAll, beforeAll, setDefaultTimeout, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { useBerth } from '../harness/berth.ts';
import { usePostgres } from '../harness/postgres.ts';
import {
  compareRuns,
  DRIVER_TEST_DEADLINE_MS,
  type DriverProgram,
  expectNoPins,
  POOL_SIZE,
  pinCount,
} from './run.ts';

setDefaultTimeout(DRIVER_TEST_DEADLINE_MS);

const FOLDER = join(import.meta.dir, 'javascript');
const PROGRAMS = ['node-postgres', 'postgres-js', 'drizzle'] as const;

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: POOL_SIZE },
  expect: ['session.pinned'],
}));

let bundles = '';

/** Node.js runs no TypeScript in every version that we support, so each program becomes one file. */
beforeAll(async () => {
  bundles = mkdtempSync(join(tmpdir(), 'berth-drivers-'));
  const { success, logs } = await Bun.build({
    entrypoints: PROGRAMS.map((name) => join(FOLDER, `${name}.ts`)),
    target: 'node',
    naming: '[name].mjs',
    external: ['pg-native', 'pg-cloudflare'],
    outdir: bundles,
  });
  if (!success) throw new AggregateError(logs, 'the programs cannot be bundled');
});

afterAll(() => rmSync(bundles, { recursive: true, force: true }));

function program(name: (typeof PROGRAMS)[number], ...args: readonly string[]): DriverProgram {
  return { command: ['node', join(bundles, `${name}.mjs`), ...args] };
}

test('node-postgres', async () => {
  const before = await pinCount(berth());
  await compareRuns(program('node-postgres'), database(), berth());
  await expectNoPins(berth(), before);
});

test('postgres.js', async () => {
  const before = await pinCount(berth());
  await compareRuns(program('postgres-js'), database(), berth());
  await expectNoPins(berth(), before);
});

test('Drizzle', async () => {
  const before = await pinCount(berth());
  await compareRuns(program('drizzle', join(FOLDER, 'migrations')), database(), berth());
  await expectNoPins(berth(), before);
});

test.each(['node-postgres', 'postgres-js'] as const)('LISTEN and NOTIFY: %s', async (name) => {
  const before = await pinCount(berth());
  await compareRuns(program(name, 'listen'), database(), berth());
  await expectNoPins(berth(), before);
});
