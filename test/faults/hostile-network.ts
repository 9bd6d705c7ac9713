/**
 * A network that misbehaves on order: a TCP proxy for tests, between a client and a server that are
 * both real. It passes bytes on in pieces, late or not at all, and resets or closes connections after
 * an exact number of bytes. Without orders it passes everything on as it is. It also counts.
 */

import { createConnection, createServer, type Server, type Socket } from 'node:net';
import { Arrivals, within } from '../harness/deadline.ts';
import { START_DEADLINE_MS } from '../harness/postgres.ts';
import { useShared } from '../harness/shared.ts';

export type Direction = 'toServer' | 'toClient';

/** What is done to one connection. */
export interface Plan {
  /** Bytes go on in pieces of this many, each handed to the kernel before the next. */
  readonly pieceBytes?: number;
  /** Every chunk is held back for this long. */
  readonly delayMs?: number;
  /** A connection whose first bytes are like this is reset instead. */
  readonly refuse?: (firstBytes: Buffer) => boolean;
  /** What happens once this many bytes have gone through in one direction. */
  readonly cut?: {
    readonly direction: Direction;
    readonly afterBytes: number;
    readonly how: 'reset' | 'close' | 'stall';
  };
}

/** One connection through the network. */
export class Link {
  readonly plan: Plan;
  /** Bytes that went through. */
  readonly passed: Record<Direction, number> = { toServer: 0, toClient: 0 };
  /** The first bytes of the client: its start-up packet, or a CancelRequest. */
  firstBytes: Buffer = Buffer.alloc(0);
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #closed = Promise.withResolvers<void>();
  #isStalled: boolean;
  #isClosed = false;
  #held: (() => void)[] = [];

  constructor(client: Socket, server: Socket, plan: Plan, isStalled: boolean) {
    this.#client = client;
    this.#server = server;
    this.plan = plan;
    this.#isStalled = isStalled;
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => this.reset());
    }
    this.#pipe(client, server, 'toServer');
    this.#pipe(server, client, 'toClient');
    client.on('close', () => this.#end());
    server.on('close', () => this.#end());
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves when both ends are gone. */
  get closed(): Promise<void> {
    return within(this.#closed.promise, 'the end of a link');
  }

  /** Nothing goes through any more, not even the end of a connection, and nobody is told. */
  stall(): void {
    this.#isStalled = true;
  }

  /** What was held back goes on, then everything as before. */
  flow(): void {
    this.#isStalled = false;
    const held = this.#held;
    this.#held = [];
    for (const go of held) go();
  }

  /** Both ends see a TCP reset. */
  reset(): void {
    this.#client.resetAndDestroy();
    this.#server.resetAndDestroy();
    this.#end();
  }

  /** Both ends see an end of the stream. */
  close(): void {
    this.#client.destroy();
    this.#server.destroy();
    this.#end();
  }

  #end(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (!this.#isStalled) {
      this.#client.destroy();
      this.#server.destroy();
    }
    this.#closed.resolve();
  }

  #pipe(from: Socket, to: Socket, direction: Direction): void {
    let turn = Promise.resolve();
    from.on('data', (chunk: Buffer) => {
      from.pause();
      turn = turn.then(async () => {
        await this.#pass(chunk, to, direction);
        from.resume();
      });
    });
    from.on('end', () => {
      turn = turn.then(async () => {
        await this.#allowed();
        to.end();
      });
    });
  }

  async #pass(chunk: Buffer, to: Socket, direction: Direction): Promise<void> {
    const { pieceBytes = chunk.length, delayMs } = this.plan;
    if (direction === 'toServer' && this.firstBytes.length === 0) {
      this.firstBytes = chunk;
      if (this.plan.refuse?.(chunk)) this.reset();
    }
    if (delayMs !== undefined) await new Promise((resolve) => setTimeout(resolve, delayMs));
    for (let at = 0; at < chunk.length && !this.#isClosed; ) {
      await this.#allowed();
      const piece = chunk.subarray(at, at + Math.min(pieceBytes, this.#leftBeforeCut(direction)));
      if (piece.length > 0) await write(to, piece);
      at += piece.length;
      this.passed[direction] += piece.length;
      if (this.#leftBeforeCut(direction) === 0) await this.#cut();
    }
  }

  #leftBeforeCut(direction: Direction): number {
    const { cut } = this.plan;
    if (cut?.direction !== direction) return Number.POSITIVE_INFINITY;
    return Math.max(0, cut.afterBytes - this.passed[direction]);
  }

  async #cut(): Promise<void> {
    const how = this.plan.cut?.how;
    if (how === 'reset') this.reset();
    else if (how === 'close') this.close();
    else this.stall();
    await this.#allowed();
  }

  async #allowed(): Promise<void> {
    while (this.#isStalled) await new Promise<void>((resolve) => this.#held.push(resolve));
  }
}

/** Gives other sockets a turn after each write, so that the pieces travel apart. */
async function write(to: Socket, piece: Uint8Array): Promise<void> {
  if (to.destroyed || to.writableEnded) return;
  await new Promise<void>((resolve) => {
    to.once('close', resolve);
    to.write(piece, () => {
      to.off('close', resolve);
      setImmediate(resolve);
    });
  });
}

export class HostileNetwork {
  /** Every connection that was ever made, in order. */
  readonly links = new Arrivals<Link>();
  /** What is done to connections that are made from now on; `index` counts from 0. */
  plan: (index: number) => Plan = () => ({});
  readonly #target: { readonly host: string; readonly port: number };
  #server: Server;
  #port = 0;
  #isStalled = false;

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target;
    this.#server = this.#makeServer();
  }

  /** A way to a server on this machine. */
  static async start(port: number): Promise<HostileNetwork> {
    const network = new HostileNetwork({ host: '127.0.0.1', port });
    await network.#listen();
    return network;
  }

  get port(): number {
    return this.#port;
  }

  get attempts(): number {
    return this.links.all.length;
  }

  /** Connections that are open now. */
  get open(): Link[] {
    return this.links.all.filter((link) => !link.isClosed);
  }

  /** Stalls all connections, and those that come: they are accepted, and nothing answers. */
  stall(): void {
    this.#isStalled = true;
    for (const link of this.open) link.stall();
  }

  flow(): void {
    this.#isStalled = false;
    for (const link of this.links.all) link.flow();
  }

  resetAll(): void {
    for (const link of this.open) link.reset();
  }

  async stop(): Promise<void> {
    for (const link of this.links.all) {
      link.reset();
      link.flow();
    }
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #makeServer(): Server {
    return createServer({ allowHalfOpen: true }, (client) => {
      const server = createConnection({ ...this.#target, allowHalfOpen: true });
      const plan = this.plan(this.links.all.length);
      this.links.push(new Link(client, server, plan, this.#isStalled));
    });
  }

  async #listen(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    const address = this.#server.address();
    if (typeof address !== 'object' || address === null) throw new Error('it does not listen');
    this.#port = address.port;
  }
}

/** A network for all tests of the file or `describe` that calls it. Call the result inside tests. */
export function useNetwork(port: () => number): () => HostileNetwork {
  return useShared({
    name: 'the network',
    start: () => HostileNetwork.start(port()),
    stop: (network) => network.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
}
