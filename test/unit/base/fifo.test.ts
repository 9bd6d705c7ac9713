/** A queue whose head is taken in constant time, against an array. */

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Fifo } from '../../../src/base/fifo.ts';

test('does what an array does', () => {
  const action = fc.oneof(
    fc.record({ kind: fc.constant('push' as const), count: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ kind: fc.constant('shift' as const), count: fc.integer({ min: 1, max: 200 }) }),
    fc.record({ kind: fc.constant('take' as const), count: fc.integer({ min: 0, max: 200 }) }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const queue = new Fifo<number>();
      const model: number[] = [];
      let last = 0;
      for (const { kind, count } of actions) {
        if (kind === 'take') {
          expect(queue.take(count)).toEqual(model.splice(0, count));
        }
        for (let n = 0; n < count && kind !== 'take'; n++) {
          if (kind === 'shift') {
            expect(queue.shift()).toBe(model.shift() as number);
          } else {
            queue.push(++last);
            model.push(last);
          }
        }
        expect(queue.length).toBe(model.length);
        expect(queue.head).toBe(model[0] as number);
        expect([...queue]).toEqual(model);
      }
    }),
  );
});
