/**
 * Stands between a proxy and a real server, and changes single packets of the server's on the way: for what
 * a server of another age would say, or one in a state that nobody can bring about at will. Without TLS.
 */

import { createConnection, createServer, type Server, type Socket } from 'node:net';

const HEADER_LENGTH = 4;
const SEQUENCE_AT = 3;

/** A packet in one frame. */
export interface Framed {
  readonly sequence: number;
  readonly payload: Buffer;
}

/** One connection, with what was seen on it. */
export interface RelayedConnection {
  /** The client's last command; undefined in the log-in. */
  lastCommand: Buffer | undefined;
  /** The server has sent its greeting. */
  hasGreeted: boolean;
}

/** Returns what the proxy reads instead of the server's packet; undefined for nothing. */
export type Rewrite = (packet: Framed, connection: RelayedConnection) => Buffer | undefined;

export class RewritingRelay {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(target: number, rewrite: Rewrite) {
    this.#server = createServer((client) => {
      const database = createConnection({ host: '127.0.0.1', port: target });
      this.#tie(client, database);
      const connection: RelayedConnection = { lastCommand: undefined, hasGreeted: false };
      forEachFrame(client, (frame) => {
        if (frame.sequence === 0) connection.lastCommand = frame.payload;
        database.write(toBytes(frame));
      });
      forEachFrame(database, (frame) => {
        const payload = rewrite(frame, connection);
        connection.hasGreeted = true;
        if (payload !== undefined) client.write(toBytes({ sequence: frame.sequence, payload }));
      });
    });
  }

  static async start(target: number, rewrite: Rewrite): Promise<RewritingRelay> {
    const relay = new RewritingRelay(target, rewrite);
    await new Promise<void>((resolve) => relay.#server.listen(0, '127.0.0.1', resolve));
    return relay;
  }

  get port(): number {
    const address = this.#server.address();
    if (address === null || typeof address === 'string') throw new Error('the relay is closed');
    return address.port;
  }

  stop(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #tie(...sockets: readonly Socket[]): void {
    for (const socket of sockets) {
      socket.setNoDelay(true);
      this.#sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        for (const each of sockets) each.destroy();
        this.#sockets.delete(socket);
      });
    }
  }
}

function forEachFrame(socket: Socket, take: (frame: Framed) => void): void {
  let kept = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    kept = Buffer.concat([kept, chunk]);
    while (kept.length >= HEADER_LENGTH) {
      const end = HEADER_LENGTH + kept.readUIntLE(0, 3);
      if (kept.length < end) return;
      take({ sequence: kept[SEQUENCE_AT] ?? 0, payload: kept.subarray(HEADER_LENGTH, end) });
      kept = kept.subarray(end);
    }
  });
}

function toBytes({ sequence, payload }: Framed): Buffer {
  const header = Buffer.alloc(HEADER_LENGTH);
  header.writeUIntLE(payload.length, 0, 3);
  header[SEQUENCE_AT] = sequence;
  return Buffer.concat([header, payload]);
}
