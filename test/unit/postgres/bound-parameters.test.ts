/** The values of a Bind, and what is made of one that is cut or wrong. */

import { expect, test } from 'bun:test';
import { BoundParameters } from '../../../src/engine/postgres/wire/bound-parameters.ts';
import { bind } from '../../harness/frontend-messages.ts';

/** Type, length and two empty names. */
const NAMES_END = 7;
const MESSAGE = bind({ parameters: ['app.x', null, Buffer.of(0xc3, 0xa4), ''] });

function values(bytes: Buffer, end = bytes.length): (string | undefined)[] {
  const parameters = new BoundParameters(bytes, NAMES_END, end);
  return [0, 1, 2, 3, 4, 5].map((number) => parameters.text(number));
}

test('texts in both formats, NULL, and numbers that there are not', () => {
  expect(values(MESSAGE)).toEqual([undefined, 'app.x', '', 'Ã¤', '', undefined]);
});

test('cut at every byte, what is there is right', () => {
  const whole = values(MESSAGE);
  for (let length = NAMES_END; length < MESSAGE.length; length++) {
    for (const each of [values(MESSAGE.subarray(0, length)), values(MESSAGE, length)]) {
      for (const [at, value] of each.entries()) expect([undefined, whole[at]]).toContain(value);
    }
  }
  expect(values(MESSAGE, NAMES_END)).toEqual(Array(6).fill(undefined));
});

test('a length that no value has', () => {
  const wrong = Buffer.from(MESSAGE);
  wrong.writeInt32BE(-2, wrong.indexOf('app.x') - 4);
  expect(values(wrong)).toEqual(Array(6).fill(undefined));
});

test('without any', () => {
  expect(values(bind())).toEqual(Array(6).fill(undefined));
});
