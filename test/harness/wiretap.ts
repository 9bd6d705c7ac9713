/** A TCP relay that changes nothing and keeps what went through it, as it was on the wire. */

import { createConnection, createServer, type Server } from 'node:net';

export class Wiretap {
  readonly #listener: Server;
  readonly #chunks: Buffer[] = [];
  readonly #sent: Buffer[][] = [];

  private constructor(target: number) {
    this.#listener = createServer((client) => {
      const server = createConnection(target, '127.0.0.1');
      const sent: Buffer[] = [];
      this.#sent.push(sent);
      client.on('data', (chunk: Buffer) => sent.push(chunk));
      server.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
      server.pipe(client);
      client.pipe(server);
      for (const socket of [client, server]) {
        socket.on('error', () => client.destroy());
        socket.on('close', () => {
          client.destroy();
          server.destroy();
        });
      }
    });
  }

  static async start(target: number): Promise<Wiretap> {
    const wiretap = new Wiretap(target);
    await new Promise<void>((resolve) => wiretap.#listener.listen(0, '127.0.0.1', resolve));
    return wiretap;
  }

  get port(): number {
    const address = this.#listener.address();
    return typeof address === 'object' && address !== null ? address.port : 0;
  }

  stop(): void {
    this.#listener.close();
  }

  /** What came from the clients, for each connection. */
  sentByClients(): Buffer[] {
    return this.#sent.map((chunks) => Buffer.concat(chunks));
  }

  /** With one connection: of the server's TLS records behind the `S`: each has its type, its version and its length before it. */
  recordSizes(): number[] {
    const sizes: number[] = [];
    const all = Buffer.concat(this.#chunks).subarray(1);
    for (let at = 0; at + 5 <= all.length; at += 5 + all.readUInt16BE(at + 3)) {
      sizes.push(all.readUInt16BE(at + 3));
    }
    return sizes;
  }
}
