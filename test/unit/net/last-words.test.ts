/** What the other side has said before it reset the connection, and a write that finds out first. */

import { expect, test } from 'bun:test';
import { SOCKET_HANDLERS, Stream } from '../../../src/net/stream.ts';
import { within } from '../../harness/deadline.ts';

/** This thread stands still for so long at most. */
const DEADLINE_MS = 10_000;

/** Answers the first bytes, resets, and says so while the other thread stands still. */
const PEER = `
  self.onmessage = ({ data: done }) => {
    const listener = Bun.listen({
      hostname: '127.0.0.1',
      port: 0,
      socket: {
        data(socket) {
          socket.write('last words');
          socket.terminate();
          listener.stop();
          Atomics.store(done, 0, 1);
          Atomics.notify(done, 0);
        },
      },
    });
    postMessage(listener.port);
  };
`;

for (const isHeld of [false, true]) {
  test(`they are read all the same${isHeld ? ', also when nobody wanted to read' : ''}`, async () => {
    const done = new Int32Array(new SharedArrayBuffer(4));
    const url = URL.createObjectURL(new Blob([PEER]));
    const peer = new Worker(url);
    const told = Promise.withResolvers<number>();
    peer.onmessage = ({ data }) => told.resolve(Number(data));
    peer.postMessage(done);
    const port = await within(told.promise, 'the port of the other side');

    const closed = Promise.withResolvers<string>();
    let received = '';
    const socket = await Bun.connect<Stream>({
      hostname: '127.0.0.1',
      port,
      socket: {
        ...SOCKET_HANDLERS,
        open(opened) {
          opened.data = new Stream(opened);
        },
      },
    });
    const stream = socket.data;
    stream.handler = {
      received: (bytes) => {
        received += bytes.toString();
      },
      congested() {},
      drained() {},
      closed: () => closed.resolve(received),
    };
    stream.write(Buffer.from('hello'));
    stream.sendNow();
    if (isHeld) stream.hold(1);
    expect(Atomics.wait(done, 0, 0, DEADLINE_MS)).not.toBe('timed-out');
    stream.write(Buffer.from('too late'));
    expect(await within(closed.promise, 'the end of the stream')).toBe('last words');
    peer.terminate();
    URL.revokeObjectURL(url);
  });
}
