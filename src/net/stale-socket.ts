/** The files of Unix sockets that processes which were killed have left behind. */

import { lstatSync, readFileSync, type Stats, statSync, unlinkSync } from 'node:fs';
import { basename } from 'node:path';
import { netErrorCode } from './net-error.ts';
import { OPEN_SOCKETS } from './open-sockets.ts';

/** Linux's list of the Unix sockets of this network namespace. */
const SYSTEM_LIST = '/proc/net/unix';

/**
 * Removes the socket at `path` when nobody listens on it. What is no socket, or somebody's, or not
 * ours to remove, stays, and listening there fails then.
 */
export async function removeStaleSocket(path: string): Promise<void> {
  const before = socketAt(path);
  if (before === undefined || (await answers(path)) || isListed(before, path)) return;
  // Somebody may have been as quick as we are, and listen there now.
  const after = socketAt(path);
  if (after === undefined || !isSameFile(before, after)) return;
  try {
    unlinkSync(path);
  } catch {
    // The folder, or in one like /tmp the file, is not ours.
  }
}

function socketAt(path: string): Stats | undefined {
  try {
    const stats = lstatSync(path, { throwIfNoEntry: false });
    return stats?.isSocket() === true ? stats : undefined;
  } catch {
    return undefined;
  }
}

/** Whether somebody does, or may; only a refusal says that nobody does. */
async function answers(path: string): Promise<boolean> {
  OPEN_SOCKETS.opened();
  try {
    const socket = await Bun.connect({ unix: path, socket: { data() {} } });
    socket.terminate();
    return true;
  } catch (error) {
    return netErrorCode(error) !== 'connection refused';
  } finally {
    OPEN_SOCKETS.closed();
  }
}

/**
 * Who is too busy to accept refuses as well, to Bun's ears; but the system knows of its socket. Where
 * there is no list, the refusal has to do.
 */
function isListed(file: Stats, path: string): boolean {
  const name = basename(path);
  return systemList().some((line) => {
    const listed = line.slice(line.indexOf('/'));
    if (!line.includes('/') || basename(listed) !== name) return false;
    const stats = statOf(listed);
    return stats !== undefined && isSameFile(stats, file);
  });
}

function systemList(): readonly string[] {
  try {
    return readFileSync(SYSTEM_LIST, 'utf8').split('\n');
  } catch {
    return [];
  }
}

function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch {
    return undefined;
  }
}

function isSameFile(a: Stats, b: Stats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
