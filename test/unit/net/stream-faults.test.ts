/** What goes wrong in reading what somebody has sent ends that connection, and no other. */

import { expect, test } from 'bun:test';
import { listen } from '../../../src/net/listener.ts';
import { containFaults, IGNORE, type Stream } from '../../../src/net/stream.ts';

const HOST = '127.0.0.1';

test('a handler that throws loses its stream, and the next one is served', async () => {
  const faults: unknown[] = [];
  containFaults((error) => faults.push(error));
  const fault = new Error('not understood');
  let closed = 0;
  const serve = (stream: Stream) => {
    stream.handler = {
      ...IGNORE,
      received(bytes) {
        if (String(bytes) === 'bad') throw fault;
        stream.write(bytes);
      },
      closed: () => closed++,
    };
  };
  const listener = listen({ host: HOST, port: 0 }, serve);
  try {
    expect(await sayTo(listener.address.port, 'bad')).toBe('');
    expect(await sayTo(listener.address.port, 'good')).toBe('good');
    expect(faults).toEqual([fault]);
    expect(closed).toBeGreaterThanOrEqual(1);
  } finally {
    listener.close();
    containFaults((error) => {
      throw error;
    });
  }
});

/** Resolves with what is said in return, or with nothing when the connection ends. */
function sayTo(port: number, text: string): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = {
    open(of: { write(text: string): number }) {
      of.write(text);
    },
    data: (of: { end(): void }, bytes: Buffer) => {
      resolve(String(bytes));
      of.end();
    },
    close: () => resolve(''),
    error: () => resolve(''),
  };
  void Bun.connect({ hostname: HOST, port, socket });
  return promise;
}
