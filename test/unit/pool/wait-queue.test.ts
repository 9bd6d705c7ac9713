/** The wait queue against a sorted list. */

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { Place, WaitQueue } from '../../../src/pool/wait-queue.ts';

interface Entry {
  readonly name: number;
  readonly priority: number;
  readonly place: Place<number>;
}

function sorted(entries: readonly Entry[]): Entry[] {
  return entries.toSorted((a, b) => b.priority - a.priority || a.name - b.name);
}

test('enter, leave and serve in any order', () => {
  const step = fc.record({
    action: fc.constantFrom('enter', 'enter', 'leave', 'serve'),
    priority: fc.integer({ min: -20, max: 20 }),
    pick: fc.nat(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const queue = new WaitQueue<number>();
      let model: Entry[] = [];
      for (const [time, { action, priority, pick }] of steps.entries()) {
        if (action === 'enter') {
          const place = new Place(queue, time, priority, time);
          queue.push(place);
          model.push({ name: time, priority, place });
        } else if (action === 'leave') {
          const gone = model[pick % Math.max(1, model.length)];
          gone?.place.abandon();
          gone?.place.abandon();
          model = model.filter((each) => each !== gone);
        } else {
          const [first] = sorted(model);
          expect(queue.shift()).toBe(first?.name as never);
          model = model.filter((each) => each !== first);
        }
        queue.audit();
        const order = sorted(model);
        expect(queue.length).toBe(order.length);
        expect(queue.head?.occupant).toBe(order[0]?.name as never);
        expect(queue.oldestSince).toBe(Math.min(...order.map((each) => each.name)));
        const visited: [number | undefined, number][] = [];
        queue.visitSince(time / 2, (place, position) => visited.push([place.occupant, position]));
        expect(visited).toEqual(
          order
            .map((each, index): [number, number] => [each.name, index + 1])
            .filter(([name]) => name <= time / 2),
        );
      }
    }),
  );
});

test('a place that was never pushed can be left', () => {
  const queue = new WaitQueue<string>();
  const place = new Place(queue, 'a', 0, 0);
  place.abandon();
  expect(place.occupant).toBeUndefined();
  expect(queue.length).toBe(0);
});
