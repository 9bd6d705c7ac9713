/**
 * What a process has cost so far, from Linux's /proc: CPU time of all its threads, and memory.
 * https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';

const KIB = 1024;
/** Fields of /proc/PID/stat counted from the one after the command's name. */
const UTIME_INDEX = 11;
const STIME_INDEX = 12;
/** Makes the kernel start a new peak. */
const RESET_PEAK = '5';

let ticksPerSecond = 0;

function readTicksPerSecond(): number {
  ticksPerSecond ||= Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  return ticksPerSecond;
}

/** CPU time of the process since it started, user and system, in microseconds. */
export function cpuMicrosOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticks = Number(fields[UTIME_INDEX]) + Number(fields[STIME_INDEX]);
  return (ticks * 1_000_000) / readTicksPerSecond();
}

function statusBytes(pid: number, field: string): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1];
  return Number(kib) * KIB;
}

export function residentBytesOf(pid: number): number {
  return statusBytes(pid, 'VmRSS');
}

export function peakResidentBytesOf(pid: number): number {
  return statusBytes(pid, 'VmHWM');
}

/** Forgets the peak so far. */
export function resetPeakOf(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, RESET_PEAK);
}
