/** A temporary folder for configurations and logs. Others than us read in it: a PgBouncer that gave up being root. */

import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { atExit } from './at-exit.ts';

export interface WorkDirectory {
  readonly path: string;
  /** Leaves the folder where it is, for somebody who wants to read the logs. */
  keep(): void;
}

/** Makes a folder that is removed when the process ends. */
export function makeWorkDirectory(): WorkDirectory {
  const path = mkdtempSync(join(tmpdir(), 'berth-bench-'));
  chmodSync(path, 0o755);
  const keep = atExit(() => rmSync(path, { recursive: true, force: true }));
  return { path, keep };
}
