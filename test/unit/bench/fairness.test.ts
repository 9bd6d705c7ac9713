/** The figures of a crowd, on queues that are played by hand. */

import { expect, test } from 'bun:test';
import { tailInTurns, tailWithinSeconds } from '../../../bench/fairness.ts';

const CLIENTS = 100;
const ROUNDS = 200;

/** A closed loop of clients on one server that takes `costOf(turn)` microseconds for each. */
function serve(costOf: (turn: number) => number, next: (queue: number[]) => number) {
  const latenciesMicros: number[] = [];
  const endsMicros: number[] = [];
  const askedAt = new Array<number>(CLIENTS).fill(0);
  const queue = [...askedAt.keys()];
  let now = 0;
  for (let turn = 0; turn < CLIENTS * ROUNDS; turn++) {
    const [client = 0] = queue.splice(next(queue), 1);
    now += costOf(turn);
    // The first answers of all are of a queue that was just being filled.
    if (turn >= CLIENTS) {
      latenciesMicros.push(now - (askedAt[client] ?? 0));
      endsMicros.push(now);
    }
    askedAt[client] = now;
    queue.push(client);
  }
  return { latenciesMicros, endsMicros };
}

const first = () => 0;
const steady = () => 500;

test('a fair queue at a steady speed has no tail', () => {
  const answers = serve(steady, first);
  expect(tailWithinSeconds(answers)).toBeCloseTo(1);
  expect(tailInTurns(answers)).toBeCloseTo(1);
});

test('a machine that is slow for some seconds makes no tail in turns, nor in most seconds', () => {
  const answers = serve((turn) => (turn > 14_000 ? 1_500 : 500), first);
  expect(tailWithinSeconds(answers)).toBeCloseTo(1);
  expect(tailInTurns(answers)).toBeLessThan(1.05);
});

test('a queue that forgets some has a tail in both', () => {
  let turn = 0;
  const answers = serve(steady, (queue) => (turn++ % 2 === 0 ? queue.length >> 1 : 0));
  expect(tailInTurns(answers)).toBeGreaterThan(1.25);
  expect(tailWithinSeconds(answers)).toBeGreaterThan(1.25);
});
