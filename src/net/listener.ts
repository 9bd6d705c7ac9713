/** Accepts connections on one address. */

import { chmodSync, lstatSync } from 'node:fs';
import type { Socket } from 'bun';
import { type Address, formatAddress, type TcpAddress, type UnixAddress } from './address.ts';
import { type NetErrorCode, netErrorCode } from './net-error.ts';
import { OPEN_SOCKETS } from './open-sockets.ts';
import { SOCKET_HANDLERS, Stream } from './stream.ts';

/** Everybody may connect, as to PostgreSQL by default: the password decides. */
const SOCKET_FILE_MODE = 0o777;

type Accepted = (stream: Stream) => void;

export class ListenError extends Error {
  readonly code: NetErrorCode;

  constructor(address: Address, code: NetErrorCode, cause: unknown) {
    super(`cannot listen on ${formatAddress(address)}: ${code}`, { cause });
    this.name = 'ListenError';
    this.code = code;
  }

  /** Says which setting the address came from. */
  at(path: string): this {
    const separator = this.message.startsWith('cannot') ? ': ' : '.';
    this.message = `${path}${separator}${this.message}`;
    return this;
  }
}

export interface Listener<Bound extends Address = Address> {
  /** The port is the one that was bound; it differs from what was asked for when that was 0. */
  readonly address: Bound;
  /** Stops accepting, and removes the file of a Unix socket. Accepted connections live on. */
  close(): void;
}

/**
 * Throws `ListenError` when the address cannot be bound. The file of a Unix socket must not be there;
 * `removeStaleSocket` sees to one that was left behind.
 */
export function listen(address: TcpAddress, accepted: Accepted): Listener<TcpAddress>;
export function listen(address: Address, accepted: Accepted): Listener;
export function listen(address: Address, accepted: Accepted): Listener {
  try {
    const listener =
      'socketPath' in address ? listenUnix(address, accepted) : listenTcp(address, accepted);
    OPEN_SOCKETS.opened();
    return listener;
  } catch (error) {
    throw new ListenError(address, whyNot(address, netErrorCode(error)), error);
  }
}

function listenTcp({ host, port }: TcpAddress, accepted: Accepted): Listener<TcpAddress> {
  const listener = Bun.listen<Stream>({
    hostname: host,
    port,
    socket: {
      ...SOCKET_HANDLERS,
      open(socket: Socket<Stream>) {
        socket.setNoDelay(true);
        const stream = new Stream(socket);
        socket.data = stream;
        accepted(stream);
      },
    },
  });
  return { address: { host, port: listener.port }, close: () => closed(listener) };
}

function listenUnix(address: UnixAddress, accepted: Accepted): Listener {
  const listener = Bun.listen<Stream>({
    unix: address.socketPath,
    socket: {
      ...SOCKET_HANDLERS,
      open(socket: Socket<Stream>) {
        const stream = new Stream(socket, { isLocal: true });
        socket.data = stream;
        accepted(stream);
      },
    },
  });
  try {
    chmodSync(address.socketPath, SOCKET_FILE_MODE);
  } catch (error) {
    listener.stop(true);
    throw error;
  }
  return { address, close: () => closed(listener) };
}

/** Bun removes the file of a Unix socket. */
function closed(listener: { stop(closeConnections: boolean): void }): void {
  listener.stop(false);
  OPEN_SOCKETS.closed();
}

/** The system's codes for a Unix socket say less than can be seen. */
function whyNot(address: Address, code: NetErrorCode): NetErrorCode {
  if (!('socketPath' in address)) return code;
  if (code === 'no such socket') return 'no such folder';
  if (code !== 'address in use') return code;
  const stats = lstatSync(address.socketPath, { throwIfNoEntry: false });
  return stats?.isSocket() === false ? 'not a socket' : code;
}
