/** The conditions of a measurement that are not the software's own. */

import { cpus, release, totalmem } from 'node:os';

const GIB = 1024 ** 3;

export function describeMachine(): string {
  const cores = cpus();
  const model = cores[0]?.model ?? 'unknown CPU';
  const memoryGib = Math.round(totalmem() / GIB);
  return `${model}, ${cores.length} cores, ${memoryGib} GiB, Linux ${release()}`;
}
