/** A MariaDB of its own and a client that knows just enough to run texts and count columns. */

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { within } from '../../harness/deadline.ts';
import { useShared } from '../../harness/shared.ts';

const PROGRAM = 'mariadbd';
const START_DEADLINE_MS = 60_000;
/** Without tables of its own: it lets everybody in, and knows texts. */
const OPTIONS = [
  '--no-defaults',
  '--skip-grant-tables',
  '--skip-networking',
  '--innodb-buffer-pool-size=8M',
  '--innodb-log-file-size=4M',
];

export interface OracleServer {
  connect(): Promise<OracleClient>;
  stop(): Promise<void>;
}

export function hasMariaDb(): boolean {
  const isThere = Bun.which(PROGRAM) !== null;
  if (!isThere) process.stderr.write(`skipped: ${PROGRAM} is not on this machine\n`);
  return isThere;
}

/** One server for the tests of the `describe` that calls it. */
export function useMariaDb(): () => OracleServer {
  return useShared({
    name: 'MariaDB',
    start: startMariaDb,
    stop: (server) => server.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
}

async function startMariaDb(): Promise<OracleServer> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-oracle-'));
  const socket = join(folder, 'socket');
  const account = process.getuid?.() === 0 ? ['--user=root'] : [];
  const options = [...OPTIONS, ...account, `--datadir=${folder}`, `--socket=${socket}`];
  const server = spawn(PROGRAM, options, { stdio: ['ignore', 'ignore', 'pipe'] });
  const ended = new Promise<void>((resolve) => server.once('close', () => resolve()));
  const ready = new Promise<void>((resolve, reject) => {
    let log = '';
    server.stderr.on('data', (data) => {
      log += String(data);
      if (log.includes('ready for connections')) resolve();
    });
    server.once('close', () => reject(new Error(`MariaDB ended: ${log}`)));
    server.once('error', reject);
  });
  await within(ready, 'MariaDB started', START_DEADLINE_MS);
  return {
    connect: () => OracleClient.connect(socket),
    stop: async () => {
      server.kill();
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** CLIENT_PROTOCOL_41, SECURE_CONNECTION, PLUGIN_AUTH, MULTI_STATEMENTS, MULTI_RESULTS, LONG_PASSWORD. */
const CAPABILITIES = 0x1 | 0x200 | 0x8000 | 0x80000 | 0x10000 | 0x20000;
const UTF8MB4 = 45;
const MORE_RESULTS = 8;

class OracleClient {
  version = '';
  private readonly socket: Socket;
  private received: Buffer = Buffer.alloc(0);
  private wake: (() => void) | undefined = undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (data: Buffer) => {
      this.received = Buffer.concat([this.received, data]);
      this.wake?.();
    });
  }

  static async connect(path: string): Promise<OracleClient> {
    const client = new OracleClient(connect(path));
    const greeting = await client.packet();
    client.version = greeting.toString('latin1', 1, greeting.indexOf(0, 1));
    const login = Buffer.alloc(32);
    login.writeUInt32LE(CAPABILITIES, 0);
    login.writeUInt32LE(1 << 24, 4);
    login[8] = UTF8MB4;
    client.send(Buffer.concat([login, Buffer.from('root\0\0mysql_native_password\0')]), 1);
    const answer = await client.packet();
    if (answer[0] !== 0) throw new Error(`login: ${answer.toString('latin1')}`);
    return client;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }

  /** The number of columns of each result; nothing when the server refused a part of the text. */
  async query(text: Uint8Array): Promise<readonly number[] | undefined> {
    this.send(Buffer.concat([Buffer.of(3), text]), 0);
    const columns: number[] = [];
    for (;;) {
      const first = await this.packet();
      if (first[0] === 0xff) return undefined;
      let status = first;
      if (first[0] !== 0) {
        columns.push(first[0] ?? 0);
        status = await this.rows();
        if (status[0] === 0xff) return undefined;
      }
      // OK has two lengths of one byte before its status, EOF the warnings.
      if (((status[3] ?? 0) & MORE_RESULTS) === 0) return columns;
    }
  }

  private async rows(): Promise<Buffer> {
    for (let ends = 0; ; ) {
      const packet = await this.packet();
      if (packet[0] === 0xff) return packet;
      if (packet[0] === 0xfe && packet.length < 9) ends += 1;
      if (ends === 2) return packet;
    }
  }

  private send(payload: Buffer, sequence: number): void {
    const head = Buffer.alloc(4);
    head.writeUIntLE(payload.length, 0, 3);
    head[3] = sequence;
    this.socket.write(Buffer.concat([head, payload]));
  }

  private async packet(): Promise<Buffer> {
    for (;;) {
      const end = this.received.length < 4 ? 4 : 4 + this.received.readUIntLE(0, 3);
      if (this.received.length >= end) {
        const payload = this.received.subarray(4, end);
        this.received = this.received.subarray(end);
        return payload;
      }
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }
}
