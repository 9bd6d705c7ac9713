/**
 * The floor: the least work that a transaction-pooling PostgreSQL proxy can do on Bun. It trusts
 * every client, opens its own database connections as one user without a password, walks message
 * headers, and gives a connection back at ReadyForQuery `I`. A yardstick for benchmarks and never
 * a product: no backpressure, no errors, no prepared statements by name, no disconnects.
 *
 *   bun bench/floor.ts LISTEN_PORT DATABASE_PORT POOL_SIZE USER DATABASE
 */

import type { Socket } from 'bun';
import { startup } from './wire/messages.ts';

interface Client {
  database: Database | undefined;
  pending: Buffer | undefined;
  hasStarted: boolean;
  socket: Socket<Client>;
}

interface Database {
  client: Client | undefined;
  /** Bytes of a message's body that the next chunk begins with. */
  skip: number;
  /** A header that was cut. */
  partial: Buffer | undefined;
  hasStarted: boolean;
  socket: Socket<Database>;
}

const HOST = '127.0.0.1';
const HEADER_LENGTH = 5;
const SSL_REQUEST = 80877103;
const READY = 0x5a;
const IDLE = 0x49;
const TERMINATE = 0x58;

const [listenPort = 0, databasePort = 0, poolSize = 0] = process.argv.slice(2, 5).map(Number);
const [user = 'postgres', databaseName = 'postgres'] = process.argv.slice(5);
const idle: Database[] = [];
const waiting: Client[] = [];
let opened = 0;

function message(type: number, body: Uint8Array): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH + body.length);
  bytes[0] = type;
  bytes.writeInt32BE(4 + body.length, 1);
  bytes.set(body, HEADER_LENGTH);
  return bytes;
}

const PARAMETERS = {
  server_version: '15.0',
  client_encoding: 'UTF8',
  server_encoding: 'UTF8',
  standard_conforming_strings: 'on',
  DateStyle: 'ISO, MDY',
  integer_datetimes: 'on',
};

const greeting = Buffer.concat([
  message(0x52, Buffer.alloc(4)),
  ...Object.entries(PARAMETERS).map((pair) => message(0x53, Buffer.from(`${pair.join('\0')}\0`))),
  message(0x4b, Buffer.alloc(8)),
  message(READY, Buffer.from('I')),
]);

function lengthAt(bytes: Buffer, at: number): number {
  return (
    1 +
    (((bytes[at + 1] ?? 0) << 24) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 8) |
      (bytes[at + 4] ?? 0))
  );
}

function connectDatabase(): void {
  void Bun.connect<Database>({
    hostname: HOST,
    port: databasePort,
    socket: {
      open(socket) {
        socket.setNoDelay(true);
        socket.data = {
          client: undefined,
          skip: 0,
          partial: undefined,
          hasStarted: false,
          socket,
        };
        socket.write(startup({ user, database: databaseName }));
      },
      data(socket, bytes) {
        fromDatabase(socket.data, bytes);
      },
    },
  });
}

function lend(database: Database): void {
  const client = waiting.shift();
  if (!client) {
    idle.push(database);
    return;
  }
  attach(client, database, client.pending ?? Buffer.alloc(0));
  client.pending = undefined;
}

function attach(client: Client, database: Database, bytes: Buffer): void {
  database.client = client;
  client.database = database;
  database.socket.write(bytes);
}

function fromClient(client: Client, bytes: Buffer): void {
  for (let at = 0; at + HEADER_LENGTH <= bytes.length; at += lengthAt(bytes, at)) {
    if (bytes[at] === TERMINATE) return;
  }
  if (client.database) {
    client.database.socket.write(bytes);
    return;
  }
  if (client.pending) {
    client.pending = Buffer.concat([client.pending, bytes]);
    return;
  }
  const database = idle.pop();
  if (database) {
    attach(client, database, bytes);
    return;
  }
  if (opened < poolSize) {
    opened++;
    connectDatabase();
  }
  client.pending = Buffer.from(bytes);
  waiting.push(client);
}

function fromDatabase(database: Database, chunk: Buffer): void {
  let bytes = chunk;
  if (database.partial) {
    bytes = Buffer.concat([database.partial, bytes]);
    database.partial = undefined;
  }
  let at = database.skip;
  let end = bytes.length;
  let isTransactionOver = false;
  while (at < bytes.length) {
    const isReady = bytes[at] === READY;
    if (at + HEADER_LENGTH + (isReady ? 1 : 0) > bytes.length) {
      database.partial = Buffer.from(bytes.subarray(at));
      end = at;
      break;
    }
    if (isReady) isTransactionOver = bytes[at + HEADER_LENGTH] === IDLE;
    at += lengthAt(bytes, at);
  }
  database.skip = Math.max(at - bytes.length, 0);
  toClient(database, end === bytes.length ? bytes : bytes.subarray(0, end), isTransactionOver);
}

function toClient(database: Database, bytes: Buffer, isTransactionOver: boolean): void {
  if (!database.hasStarted) {
    database.hasStarted = isTransactionOver;
    if (isTransactionOver) lend(database);
    return;
  }
  const client = database.client;
  if (!client) return;
  client.socket.write(bytes);
  if (!isTransactionOver) return;
  client.database = undefined;
  database.client = undefined;
  lend(database);
}

Bun.listen<Client>({
  hostname: HOST,
  port: listenPort,
  socket: {
    open(socket) {
      socket.setNoDelay(true);
      socket.data = { database: undefined, pending: undefined, hasStarted: false, socket };
    },
    data(socket, bytes) {
      const client = socket.data;
      if (client.hasStarted) {
        fromClient(client, bytes);
        return;
      }
      if (bytes.readInt32BE(4) === SSL_REQUEST) {
        socket.write('N');
        return;
      }
      client.hasStarted = true;
      socket.write(greeting);
    },
  },
});
