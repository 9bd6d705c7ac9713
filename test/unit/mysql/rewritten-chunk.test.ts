/** A chunk that is written anew is what its pieces would be one behind the other. */

import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { RewrittenChunk } from '../../../src/engine/mysql/rewritten-chunk.ts';
import { eofPacket } from '../../../src/engine/mysql/wire/replies.ts';

const SOURCE = Buffer.from(Array.from({ length: 600 }, (_, index) => index & 0xff));
const place = fc.integer({ min: 0, max: SOURCE.length });
const step = fc.oneof(
  fc.record({ kind: fc.constant('keep' as const), from: place, to: place }),
  fc.record({ kind: fc.constant('add' as const), packet: fc.uint8Array({ maxLength: 300 }) }),
  fc.record({
    kind: fc.constant('eof' as const),
    sequence: fc.integer({ min: 0, max: 300 }),
    status: fc.integer({ min: 0, max: 0xffff }),
    warnings: fc.integer({ min: 0, max: 0xffff }),
  }),
);

test('all pieces, in their order, chunk after chunk', () => {
  const rewritten = new RewrittenChunk();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), place, (steps, rest) => {
      const pieces: Uint8Array[] = [];
      for (const each of steps) {
        if (each.kind === 'keep') {
          rewritten.keep(SOURCE, each.from, each.to);
          if (each.to > each.from) pieces.push(SOURCE.subarray(each.from, each.to));
        } else if (each.kind === 'add') {
          rewritten.add(each.packet);
          pieces.push(each.packet);
        } else {
          rewritten.addEof(each.sequence, each.status, each.warnings);
          pieces.push(eofPacket(each.sequence & 0xff, each.status, each.warnings));
        }
      }
      const whole = rewritten.take(SOURCE, rest, SOURCE.length);
      if (pieces.length === 0) expect(whole).toBeUndefined();
      else expect(whole).toEqual(Buffer.concat([...pieces, SOURCE.subarray(rest)]));
    }),
  );
});
