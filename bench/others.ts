/**
 * What the rest of the machine does during a round: the CPU time of everybody who is neither the
 * bench nor started by it, from Linux's /proc. A compiler that runs for two seconds beside one of
 * the subjects decides a comparison.
 * https://man7.org/linux/man-pages/man5/proc_stat.5.html
 */

import { readdirSync, readFileSync } from 'node:fs';

/** Fields of /proc/PID/stat counted from the one after the command's name. */
const PARENT_INDEX = 1;
/** User and system, of the process and of the children it has waited for. */
const CPU_INDEXES = [11, 12, 13, 14] as const;
/** Of the first line of /proc/stat, after its name. What guests use is in `user` already. */
const IDLE_INDEXES: readonly number[] = [3, 4];
const COUNTED_FIELDS = 8;

interface Process {
  readonly parent: number;
  readonly ticks: number;
}

interface Reading {
  readonly allTicks: number;
  readonly busyTicks: number;
  readonly ownTicks: number;
}

/** Starts to measure. The function tells the share of the machine, 0 to 1, that others used since. */
export function watchOthers(): () => number {
  const before = read();
  return () => {
    const now = read();
    const others = now.busyTicks - before.busyTicks - (now.ownTicks - before.ownTicks);
    return Math.max(others, 0) / (now.allTicks - before.allTicks);
  };
}

function read(): Reading {
  const [line = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const fields = line
    .split(/ +/)
    .slice(1, 1 + COUNTED_FIELDS)
    .map(Number);
  let allTicks = 0;
  let busyTicks = 0;
  for (const [index, ticks] of fields.entries()) {
    allTicks += ticks;
    if (!IDLE_INDEXES.includes(index)) busyTicks += ticks;
  }
  return { allTicks, busyTicks, ownTicks: ownTicks() };
}

/** Of this process and all below it. */
function ownTicks(): number {
  const processes = new Map<number, Process>();
  for (const name of readdirSync('/proc')) {
    const found = /^\d+$/.test(name) ? processOf(name) : undefined;
    if (found !== undefined) processes.set(Number(name), found);
  }
  let ticks = 0;
  for (const [pid, found] of processes) {
    if (isOurs(pid, processes)) ticks += found.ticks;
  }
  return ticks;
}

function isOurs(pid: number, processes: ReadonlyMap<number, Process>): boolean {
  for (let at: number | undefined = pid; at !== undefined; at = processes.get(at)?.parent) {
    if (at === process.pid) return true;
  }
  return false;
}

/** Undefined for a process that has just ended. */
function processOf(pid: string): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const ticks = CPU_INDEXES.reduce((sum, index) => sum + Number(fields[index]), 0);
    return { parent: Number(fields[PARENT_INDEX]), ticks };
  } catch {
    return undefined;
  }
}
