/** GetRandomPassword. */

import { randomInt } from 'node:crypto';
import { z } from 'zod';
import { invalidParameter } from './fault.ts';
import { operation } from './operation.ts';
import { flag, integer, text } from './parameters.ts';

const LENGTH_MAX = 4_096;
const USUAL_LENGTH = 32;
const PUNCTUATION = '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~';
const LOWER = 'abcdefghijklmnopqrstuvwxyz';

export const getRandomPassword = operation(
  z.strictObject({
    PasswordLength: integer(1, LENGTH_MAX).default(USUAL_LENGTH),
    ExcludeCharacters: text(LENGTH_MAX).default(''),
    ExcludeNumbers: flag().default(false),
    ExcludePunctuation: flag().default(false),
    ExcludeUppercase: flag().default(false),
    ExcludeLowercase: flag().default(false),
    IncludeSpace: flag().default(false),
    RequireEachIncludedType: flag().default(true),
  }),
  (parameters) => {
    const { PasswordLength: length, ExcludeCharacters: excluded } = parameters;
    const kinds = [
      parameters.ExcludeLowercase ? '' : LOWER,
      parameters.ExcludeUppercase ? '' : LOWER.toUpperCase(),
      parameters.ExcludeNumbers ? '' : '0123456789',
      parameters.ExcludePunctuation ? '' : PUNCTUATION,
      parameters.IncludeSpace ? ' ' : '',
    ]
      .map((kind) => [...kind].filter((letter) => !excluded.includes(letter)))
      .filter((kind) => kind.length > 0);
    const required = parameters.RequireEachIncludedType ? kinds : [];
    const all = kinds.flat();
    if (all.length === 0) throw invalidParameter('Every kind of characters is excluded.');
    if (required.length > length) {
      throw invalidParameter('The password is too short for one character of each kind.');
    }
    const rest = Array.from({ length: length - required.length }, () => all);
    return { RandomPassword: shuffled([...required, ...rest].map(pick)).join('') };
  },
);

function pick(letters: readonly string[]): string {
  return letters[randomInt(letters.length)] ?? '';
}

/** Fisher and Yates. */
function shuffled(letters: readonly string[]): readonly string[] {
  const result = [...letters];
  for (let last = result.length - 1; last > 0; last--) {
    const other = randomInt(last + 1);
    [result[last], result[other]] = [result[other] ?? '', result[last] ?? ''];
  }
  return result;
}
