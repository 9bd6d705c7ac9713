/** The server name in the first message of a TLS handshake, however it is cut. */

import { describe, expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { type ConnectionOptions, connect } from 'node:tls';
import fc from 'fast-check';
import { CLIENT_HELLO_MAX, readClientHello } from '../../../src/net/client-hello.ts';

/** What a client of this machine sends first. */
async function helloOf(options: ConnectionOptions): Promise<Buffer> {
  const arrived = Promise.withResolvers<Buffer>();
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      arrived.resolve(Buffer.from(bytes));
      socket.destroy();
      server.close();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const client = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ...options });
  client.on('error', () => undefined);
  return arrived.promise;
}

/** The same message in records of at most `size` bytes. */
function inRecords(hello: Buffer, size: number): Buffer {
  const message = hello.subarray(5);
  const records: Buffer[] = [];
  for (let at = 0; at < message.length; at += size) {
    const part = message.subarray(at, at + size);
    records.push(Buffer.from([0x16, 3, 1, part.length >> 8, part.length & 0xff]), part);
  }
  return Buffer.concat(records);
}

describe('the name', () => {
  test.each([
    ['in TLS 1.3', { servername: 'Orders.DB.example' }, 'orders.db.example'],
    ['in TLS 1.2', { servername: 'a.b', maxVersion: 'TLSv1.2' as const }, 'a.b'],
    ['that is not given', {}, undefined],
    ['beside other extensions', { servername: 'a.b', ALPNProtocols: ['postgresql'] }, 'a.b'],
  ])('%s', async (_what, options, serverName) => {
    const hello = await helloOf(options);
    expect(readClientHello(hello)).toEqual({ serverName });
    for (const size of [1, 7, 100]) {
      expect(readClientHello(inRecords(hello, size))).toEqual({ serverName });
    }
  });

  test('is waited for, wherever the message is cut', async () => {
    const hello = await helloOf({ servername: 'orders.db.example' });
    for (const whole of [hello, inRecords(hello, 50)]) {
      for (let end = 0; end < whole.length; end++) {
        expect(readClientHello(whole.subarray(0, end))).toBe('incomplete');
      }
    }
  });
});

describe('what is no such message', () => {
  test.each([
    ['another record', Buffer.from([0x17, 3, 1, 0, 1, 0])],
    ['another message', Buffer.from([0x16, 3, 1, 0, 4, 2, 0, 0, 0])],
    ['one that is too long', Buffer.from([0x16, 3, 1, 0, 4, 1, 1, 0, 0])],
    ['one that ends in the middle', Buffer.from([0x16, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3])],
    ['a record after a beginning', Buffer.from([0x16, 3, 1, 0, 1, 1, 0x15, 3, 1, 0, 1, 0])],
  ])('%s', (_what, bytes) => expect(readClientHello(bytes)).toBe('malformed'));

  test('one that never ends', () => {
    const empty = Buffer.from([0x16, 3, 1, 0, 0]);
    const many = Buffer.concat(Array.from({ length: CLIENT_HELLO_MAX / 5 + 1 }, () => empty));
    expect(readClientHello(many)).toBe('malformed');
  });

  test('anything, without an exception', async () => {
    const hello = await helloOf({ servername: 'orders.db.example' });
    const change = fc.tuple(fc.nat(hello.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 8 }), (changes) => {
        const bytes = Buffer.from(hello);
        for (const [at, value] of changes) bytes[at] = value;
        readClientHello(bytes);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        readClientHello(Buffer.concat([Buffer.from([0x16, 3, 1, 1, 0x90, 1, 0, 1, 0x8c]), bytes]));
      }),
      { numRuns: 2_000 },
    );
  });
});
