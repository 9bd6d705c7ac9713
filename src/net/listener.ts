/** Accepts connections on one address. */

import type { Socket } from 'bun';
import { type NetErrorCode, netErrorCode } from './net-error.ts';
import { OPEN_SOCKETS } from './open-sockets.ts';
import { SOCKET_HANDLERS, Stream } from './stream.ts';

export class ListenError extends Error {
  readonly code: NetErrorCode;

  constructor(address: string, code: NetErrorCode, cause: unknown) {
    super(`cannot listen on ${address}: ${code}`, { cause });
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

export interface Listener {
  readonly host: string;
  /** The port that was bound; differs from what was asked for when that was 0. */
  readonly port: number;
  /** Stops accepting. Accepted connections live on. */
  close(): void;
}

/** Throws `ListenError` when the address cannot be bound. */
export function listen(host: string, port: number, accepted: (stream: Stream) => void): Listener {
  try {
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
    OPEN_SOCKETS.opened();
    const close = () => {
      listener.stop(false);
      OPEN_SOCKETS.closed();
    };
    return { host, port: listener.port, close };
  } catch (error) {
    throw new ListenError(`${host}:${port}`, netErrorCode(error), error);
  }
}
