/** What is noted of a stream of messages, wherever it is cut. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { FrameTracker } from '../../../src/engine/postgres/wire/frame-tracker.ts';
import * as frontend from '../../harness/frontend-messages.ts';

type Ended = readonly [type: string, lastByte: number];

function tracker(): { readonly frames: FrameTracker; readonly ended: Ended[] } {
  const ended: Ended[] = [];
  const frames = new FrameTracker({
    messageEnded: (type, lastByte) => ended.push([String.fromCharCode(type), lastByte]),
  });
  return { frames, ended };
}

const MESSAGES = [
  frontend.message('W', Buffer.from([0, 0, 0])),
  frontend.message('c'),
  frontend.message('d', Buffer.alloc(70_000, 7)),
  frontend.message('Z', Buffer.from('T')),
  frontend.message('X'),
];
const EXPECTED: readonly Ended[] = [
  ['W', 0],
  ['c', 0],
  ['d', 7],
  ['Z', 0x54],
  ['X', 0],
];

describe('FrameTracker', () => {
  test('messages in one chunk', () => {
    const { frames, ended } = tracker();
    expect(frames.isBetween).toBe(true);
    frames.follow(Buffer.concat(MESSAGES));
    expect(ended).toEqual([...EXPECTED]);
    expect(frames.isBetween).toBe(true);
  });

  test('cut at every byte: between messages exactly where one ends', () => {
    const small = [MESSAGES[0], MESSAGES[1], MESSAGES[3]].map((message) => message ?? Buffer.of());
    const bytes = Buffer.concat(small);
    const ends = small.map((_, index) => Buffer.concat(small.slice(0, index + 1)).length);
    for (let cut = 1; cut < bytes.length; cut++) {
      const { frames, ended } = tracker();
      frames.follow(bytes.subarray(0, cut));
      expect(frames.isBetween).toBe(ends.includes(cut));
      frames.follow(bytes.subarray(cut));
      expect(ended).toHaveLength(small.length);
    }
  });

  test('cut anywhere, any number of times', () => {
    const bytes = Buffer.concat(MESSAGES);
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: bytes.length }), { maxLength: 50 }),
        (cuts) => {
          const { frames, ended } = tracker();
          let from = 0;
          for (const cut of [...cuts.sort((a, b) => a - b), bytes.length]) {
            frames.follow(bytes.subarray(from, cut));
            from = cut;
          }
          expect(ended).toEqual([...EXPECTED]);
        },
      ),
    );
  });

  test.each([0, 3, -1, -2_147_483_648])(
    'a length of %d: nothing is believed after it',
    (length) => {
      for (const size of [1, 100]) {
        const { frames, ended } = tracker();
        const bytes = Buffer.concat([
          Buffer.from('d'),
          frontend.int32(length),
          frontend.message('Z', Buffer.from('I')),
        ]);
        for (let at = 0; at < bytes.length; at += size)
          frames.follow(bytes.subarray(at, at + size));
        expect(ended).toEqual([]);
        expect(frames.isBetween).toBe(false);
      }
    },
  );
});
