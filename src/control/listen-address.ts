/**
 * Addresses to listen on, as they are written in the file: `host:port` or `[::1]:port`. Port 0 asks
 * the system for a free one. Pure: no name is looked up here.
 */

import { isIPv4, isIPv6 } from 'node:net';
import type { ListenAddress } from '../proxy/snapshot.ts';

const PORT_MAX = 65_535;

/** Undefined when `text` is no address. */
export function parseListenAddress(text: string): ListenAddress | undefined {
  const match = /^(?:\[(?<v6>[^\]]+)\]|(?<name>[^:[\]\s]+)):(?<port>\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const { v6, name = '', port = '' } = match.groups ?? {};
  if (Number(port) > PORT_MAX) return undefined;
  if (v6 !== undefined) return isIPv6(v6) ? { host: v6, port: Number(port) } : undefined;
  return isHost(name) ? { host: name, port: Number(port) } : undefined;
}

export function formatListenAddress({ host, port }: ListenAddress): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
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
export function overlaps(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  return (
    a.host.toLowerCase() === b.host.toLowerCase() ||
    covers(a.host, b.host) ||
    covers(b.host, a.host)
  );
}

/** True when `wildcard` is an address for all hosts, `host` among them. `::` takes IPv4 as well. */
function covers(wildcard: string, host: string): boolean {
  return wildcard === '::' || (wildcard === '0.0.0.0' && !isIPv6(host));
}
