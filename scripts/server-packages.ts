/**
 * Servers that this machine's own distribution does not have, from the packages of one that does: Debian
 * unstable. They are unpacked into a folder of their own, not installed (see src/embedded/mysql-installation.ts).
 */

import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { findUnpacked, type MysqlInstallation } from '../src/embedded/mysql-installation.ts';

export const SERVER_PACKAGES = {
  mysql: ['mysql-server-core', 'mysql-client-core', 'mysql-router'],
  'mariadb-11': ['mariadb-server', 'mariadb-client-core'],
} as const;

export type UnpackedServer = keyof typeof SERVER_PACKAGES;

/** Of root's, everybody can read it: the server runs under another account. */
export function serversFolder(): string {
  if (process.getuid?.() === 0) return '/var/cache/berth-servers';
  return join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'berth-servers');
}

export function unpackedFolder(server: UnpackedServer): string {
  return join(serversFolder(), server);
}

export function isUnpacked(server: UnpackedServer): boolean {
  return existsSync(unpackedFolder(server));
}

export function findServer(server: UnpackedServer): MysqlInstallation | undefined {
  return isUnpacked(server) ? findUnpacked(unpackedFolder(server)) : undefined;
}
