/** Where something listens, on either side: a TCP port or a Unix socket. */

export interface TcpAddress {
  readonly host: string;
  readonly port: number;
}

export interface UnixAddress {
  /** Absolute. */
  readonly socketPath: string;
}

export type Address = TcpAddress | UnixAddress;

export function formatAddress(address: Address): string {
  if ('socketPath' in address) return address.socketPath;
  const { host, port } = address;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
