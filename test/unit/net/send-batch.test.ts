/** Sends in batches, on real sockets and a real ring; where the system has none, nothing here can run. */

import { afterEach, beforeAll, describe, expect, test } from 'bun:test';
import type { Socket } from 'bun';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import { IoUring, IoUringUnavailable } from '../../../src/net/io-uring.ts';
import { listen } from '../../../src/net/listener.ts';
import { BATCHED_BYTES_MAX, SEND_BATCH, SendBatch } from '../../../src/net/send-batch.ts';
import { containFaults, HOLD_QUEUED, IGNORE, type Stream } from '../../../src/net/stream.ts';
import { Arrivals } from '../../harness/deadline.ts';

const HOST = '127.0.0.1';
const MEBIBYTE = 1024 * 1024;

/** The far end: a socket of Bun's own, that no stream stands in front of. */
interface Peer {
  readonly socket: Socket<undefined>;
  readonly chunks: Arrivals<Buffer>;
  readonly ends: Arrivals<'closed'>;
}

interface Pair {
  readonly stream: Stream;
  readonly peer: Peer;
}

const closings: (() => void)[] = [];

afterEach(() => {
  for (const close of closings.splice(0)) close();
});

async function pair(): Promise<Pair> {
  const accepted = Promise.withResolvers<Stream>();
  const listener = listen({ host: HOST, port: 0 }, accepted.resolve);
  const chunks = new Arrivals<Buffer>();
  const ends = new Arrivals<'closed'>();
  const socket = await Bun.connect({
    hostname: HOST,
    port: listener.address.port,
    socket: {
      data: (_socket, bytes) => chunks.push(bytes),
      close: () => ends.push('closed'),
    },
  });
  const stream = await accepted.promise;
  closings.push(() => {
    stream.destroy();
    socket.terminate();
    listener.close();
  });
  return { stream, peer: { socket, chunks, ends } };
}

function received({ chunks }: Peer): Buffer {
  return Buffer.concat(chunks.all);
}

async function untilReceived(peer: Peer, length: number): Promise<Buffer> {
  return await peer.chunks.until(() => {
    const bytes = received(peer);
    return bytes.length >= length ? bytes : undefined;
  }, `${length} bytes`);
}

beforeAll(() => {
  expect(SEND_BATCH.start()).toBeUndefined();
});

test('a ring that the system does not give says so', () => {
  expect(() => new IoUring(-1)).toThrow(IoUringUnavailable);
  const { isOn } = new SendBatch();
  expect(isOn).toBe(false);
});

test('the writes of one turn to many sockets arrive, each at its own', async () => {
  const pairs = await Promise.all(Array.from({ length: 300 }, pair));
  for (const [n, { stream }] of pairs.entries()) stream.write(Buffer.from(`for ${n}`));
  for (const [n, { peer }] of pairs.entries()) {
    const text = `for ${n}`;
    expect((await untilReceived(peer, text.length)).toString()).toBe(text);
  }
});

test('several writes to one socket keep their order, whatever their length', async () => {
  const { stream, peer } = await pair();
  const chunks = [3, 1, BATCHED_BYTES_MAX + 1, 2, 40_000, 1].map((length, n) =>
    Buffer.alloc(length, 97 + n),
  );
  for (const chunk of chunks) stream.give(Buffer.from(chunk));
  const all = Buffer.concat(chunks);
  expect((await untilReceived(peer, all.length)).equals(all)).toBe(true);
});

test('a socket that is full tells its handler, and sends the rest in order when it drains', async () => {
  const { stream, peer } = await pair();
  peer.socket.pause();
  const states = new Arrivals<string>();
  stream.handler = {
    ...IGNORE,
    congested: () => states.push('congested'),
    drained: () => states.push('drained'),
  };
  let sent = 0;
  // One small write a turn: every one of them goes through the batch.
  while (!stream.isCongested) {
    const chunk = Buffer.alloc(BATCHED_BYTES_MAX);
    for (let at = 0; at < chunk.length; at += 4) chunk.writeUInt32LE(sent + at, at);
    stream.write(chunk);
    sent += chunk.length;
    expect(sent).toBeLessThan(64 * MEBIBYTE);
    await new Promise(setImmediate);
  }
  expect(states.all).toEqual(['congested']);
  stream.write(Buffer.from('end!'));
  expect(states.all).toEqual(['congested', 'congested']);
  peer.socket.resume();
  const bytes = await untilReceived(peer, sent + 4);
  expect(states.all.at(-1)).toBe('drained');
  for (let at = 0; at < sent; at += 4) {
    if (bytes.readUInt32LE(at) !== at) throw new Error(`wrong at ${at}`);
  }
  expect(bytes.subarray(sent).toString()).toBe('end!');
});

test('a handler that throws does not keep the others from hearing what came of theirs', async () => {
  const full = await pair();
  const other = await pair();
  const faults: unknown[] = [];
  containFaults((fault) => faults.push(fault));
  full.peer.socket.pause();
  full.stream.handler = {
    ...IGNORE,
    congested() {
      throw new Error('congested');
    },
  };
  while (full.stream.fd >= 0) {
    full.stream.write(Buffer.alloc(BATCHED_BYTES_MAX));
    other.stream.write(Buffer.from('x'));
    await new Promise(setImmediate);
  }
  other.stream.write(Buffer.from('!'));
  await other.peer.chunks.until(
    () => (received(other.peer).at(-1) === 0x21 ? true : undefined),
    'the last byte',
  );
  expect(faults).toHaveLength(1);
});

describe('what waits in the batch', () => {
  test('goes out before the stream ends', async () => {
    const { stream, peer } = await pair();
    const wheel = new TimerWheel(0);
    stream.write(Buffer.from('last words'));
    stream.end(wheel, 1000);
    expect((await untilReceived(peer, 10)).toString()).toBe('last words');
    await peer.ends.until(() => peer.ends.all[0], 'the end');
  });

  test('goes out before the stream is destroyed', async () => {
    const { stream, peer } = await pair();
    stream.write(Buffer.from('last words'));
    stream.destroy();
    await peer.ends.until(() => peer.ends.all[0], 'the end');
    expect(received(peer).toString()).toBe('last words');
  });

  test('never reaches the next socket of the same number', async () => {
    const first = await pair();
    const { fd } = first.stream;
    first.stream.write(Buffer.from('for the first only'));
    // As when Bun finds out in the same turn that the other side has gone.
    first.stream.onClose();
    first.peer.socket.terminate();
    expect(first.stream.fd).toBe(-1);
    first.stream.write(Buffer.from('and this'));
    SEND_BATCH.flush();
    expect(fd).toBeGreaterThan(0);
    expect(received(first.peer).toString()).toBe('');
  });

  test('is taken back when somebody else turns out to have the number', async () => {
    const first = await pair();
    first.stream.write(Buffer.from('for the first only'));
    expect(SEND_BATCH.descriptorOf({ fd: first.stream.fd })).toBe(first.stream.fd);
    SEND_BATCH.flush();
    const second = await pair();
    second.stream.write(Buffer.from('second'));
    await untilReceived(second.peer, 6);
    expect(received(first.peer).toString()).toBe('');
  });
});

test('a socket that was reset closes', async () => {
  const { stream, peer } = await pair();
  const closed = Promise.withResolvers<void>();
  stream.handler = { ...IGNORE, closed: closed.resolve };
  // Nobody reads there: only a write can find out.
  stream.hold(HOLD_QUEUED);
  peer.socket.terminate();
  while (stream.fd >= 0) {
    stream.write(Buffer.from('x'));
    await new Promise(setImmediate);
  }
  await closed.promise;
});
