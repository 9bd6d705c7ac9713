/** Texts that were remembered as plain: the answer is always the one that reading them would give. */

import { expect, test } from 'bun:test';
import { classify } from '../../../src/sql/postgres/classify.ts';
import { PLAIN } from '../../../src/sql/postgres/effects.ts';
import { PlainTexts } from '../../../src/sql/postgres/plain-texts.ts';
import { REMEMBERED_TEXT_MAX } from '../../../src/sql/text-memory.ts';
import { corpus } from './corpus.ts';

/** Comes for the first time, is remembered, is found. */
const TIMES = [1, 2, 3];

function isSame(texts: PlainTexts, bytes: Buffer, from = 0, to = bytes.length): boolean {
  return (['standard', 'unsure'] as const).every(
    (syntax) => texts.classify(bytes, from, to, syntax) === classify(bytes, from, to, syntax),
  );
}

test('what is remembered changes no answer', () => {
  const texts = new PlainTexts();
  for (const _ of TIMES) {
    for (const { bytes } of corpus) expect(isSame(texts, Buffer.from(bytes))).toBe(true);
  }
});

test('a text that differs in one byte from one that is remembered is another', () => {
  const texts = new PlainTexts();
  const plain = Buffer.from(`select '${'x'.repeat(300)}', 1`);
  for (const _ of TIMES) expect(texts.classify(plain, 0, plain.length, 'standard')).toBe(PLAIN);
  for (let at = 0; at < plain.length; at++) {
    for (const other of ["'", ';', '\\', 'e']) {
      const changed = Buffer.from(plain);
      changed.write(other, at);
      for (const _ of TIMES) expect(isSame(texts, changed)).toBe(true);
    }
    expect(isSame(texts, plain)).toBe(true);
  }
});

test('a part of a remembered text, and what lies around one, is another', () => {
  const texts = new PlainTexts();
  const bytes = Buffer.from('set x = 1; select 1; listen x');
  for (const _ of TIMES) {
    for (let from = 0; from <= bytes.length; from++) {
      for (let to = from; to <= bytes.length; to++) {
        expect(isSame(texts, bytes, from, to)).toBe(true);
      }
    }
  }
});

test('the longest text that is remembered stays in its place', () => {
  const texts = new PlainTexts();
  const longest = (letter: string, more: number) =>
    Buffer.from(`select ${letter.repeat(REMEMBERED_TEXT_MAX - 7 + more)}`);
  const letters = 'abcdefghij';
  for (const _ of TIMES) {
    for (const letter of letters) {
      expect(isSame(texts, longest(letter, 0))).toBe(true);
      expect(isSame(texts, longest(letter, 1))).toBe(true);
    }
  }
});
