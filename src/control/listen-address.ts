/**
 * Addresses to listen on, as they are written in the file: `host:port`, `[::1]:port` or the path of a
 * Unix socket. Port 0 asks the system for a free one. Pure: no name is looked up here, nor a file.
 */

import { isIPv4, isIPv6 } from 'node:net';
import { normalize } from 'node:path';
import type { Address, TcpAddress, UnixAddress } from '../proxy/snapshot.ts';

const PORT_MAX = 65_535;
/** The longest path of a Unix socket that Linux takes, without the zero byte at its end. */
export const SOCKET_PATH_MAX = 107;

/** Undefined when `text` is no address. */
export function parseListenAddress(text: string): Address | undefined {
  return text.startsWith('/') ? parseSocketPath(text) : parseTcpAddress(text);
}

/** Undefined when `text` is no address. */
export function parseTcpAddress(text: string): TcpAddress | undefined {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<name>[^:[\]\s]+)):(?<port>\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const { v6, name = '', port = '' } = match.groups ?? {};
  if (Number(port) > PORT_MAX) return undefined;
  if (v6 !== undefined) return isIPv6(v6) ? { host: v6, port: Number(port) } : undefined;
  return isHost(name) ? { host: name, port: Number(port) } : undefined;
}

export function formatTcpAddress({ host, port }: TcpAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** MySQL's clients are given the name of the socket; by it nobody takes a folder for one. */
function parseSocketPath(text: string): UnixAddress | undefined {
  const isMySqlSocket = /^\/[^\0]*[^/\0]\.sock$/.test(text);
  return isMySqlSocket || isPostgresSocket(text) ? { socketPath: normalize(text) } : undefined;
}

export function formatListen(address: Address): string {
  return 'socketPath' in address ? address.socketPath : formatTcpAddress(address);
}

/**
 * A Unix socket is found by libpq, and by nearly every other client, under this name only, in the folder
 * that it takes for the host.
 * https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOST
 */
export function isPostgresSocket(path: string): boolean {
  const port = /^\/[^\0]*(?<=\/)\.s\.PGSQL\.(?<port>[1-9]\d{0,4})$/.exec(path)?.groups?.port;
  return port !== undefined && Number(port) <= PORT_MAX;
}

export function isTooLong({ socketPath }: UnixAddress): boolean {
  return Buffer.byteLength(socketPath) > SOCKET_PATH_MAX;
}

/** A host name or an IPv4 address. What looks like an IPv4 address has to be one. */
export function isHost(text: string): boolean {
  if (/^[\d.]+$/.test(text)) return isIPv4(text);
  return text.length <= 253 && /^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9])?$/i.test(text);
}

export function isLoopback(host: string): boolean {
  return host === '::1' || host.toLowerCase() === 'localhost' || /^127\.[\d.]+$/.test(host);
}

/** True when no two sockets could listen on both. Port 0 is never the same port twice. */
export function overlaps(a: Address, b: Address): boolean {
  if ('socketPath' in a) return 'socketPath' in b && a.socketPath === b.socketPath;
  if ('socketPath' in b) return false;
  if (a.port !== b.port || a.port === 0) return false;
  return (
    a.host.toLowerCase() === b.host.toLowerCase() ||
    covers(a.host, b.host) ||
    covers(b.host, a.host)
  );
}

/**
 * True when endpoints of one engine family may both listen there: clients are told apart by the host name
 * that they give. Not on a Unix socket, where there is no TLS.
 */
export function mayShare(a: Address, b: Address): boolean {
  if ('socketPath' in a || 'socketPath' in b) return false;
  return a.port === b.port && a.host === b.host;
}

/** True when `wildcard` is an address for all hosts, `host` among them. `::` takes IPv4 as well. */
function covers(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !isIPv6(host));
}
