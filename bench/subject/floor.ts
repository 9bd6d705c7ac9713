/** The floor as a process of its own, see `bench/floor.ts`. */

import { join } from 'node:path';
import { FLOOR_USER } from '../database.ts';
import { freePort, LOOPBACK, startChild } from './child.ts';
import type { Subject, SubjectRequest } from './subject.ts';

export async function startFloor(request: SubjectRequest): Promise<Subject> {
  const { database, directory, poolSize } = request;
  const port = await freePort();
  const logFile = join(directory, 'floor.log');
  const child = await startChild({
    command: process.execPath,
    args: [
      join(import.meta.dirname, '..', 'floor.ts'),
      String(port),
      String(database.address.port),
      String(poolSize),
      FLOOR_USER,
      database.credentials.database,
    ],
    logFile,
    port,
  });
  return {
    name: 'floor',
    version: `floor on Bun ${Bun.version}`,
    address: { host: LOOPBACK, port },
    pid: child.pid,
    metricsUrl: undefined,
    sessionsUrl: undefined,
    logFile,
    stop: () => child.stop(),
  };
}
