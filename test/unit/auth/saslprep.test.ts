import { describe, expect, test } from 'bun:test';
import { preparedPassword, saslprep } from '../../../src/engine/postgres/auth/saslprep.ts';

describe('saslprep', () => {
  test.each([
    ['RFC 4013: soft hyphen is mapped to nothing', 'I\u00adX', 'IX'],
    ['RFC 4013: no transformation', 'user', 'user'],
    ['RFC 4013: case is preserved', 'USER', 'USER'],
    ['RFC 4013: NFKC of feminine ordinal', '\u00aa', 'a'],
    ['RFC 4013: NFKC of a Roman numeral', '\u2168', 'IX'],
    ['spaces of other scripts become a space', 'a\u00a0b\u3000c\u200bd\u00e9', 'a b c d\u00e9'],
    ['composition', 'e\u0301', '\u00e9'],
    ['beyond the BMP', '\u{1d400}\u{20000}', 'A\u{20000}'],
    ['right to left', '\u05d0\u05d1', '\u05d0\u05d1'],
    ['right to left with a digit inside', '\u06271\u0628', '\u06271\u0628'],
  ])('%s', (_, input, expected) => {
    expect(saslprep(input)).toBe(expected);
  });

  test.each([
    ['RFC 4013: bidirectional check', '\u06271'],
    ['right to left and left to right', '\u05d0a\u05d0'],
    ['nothing left', '\u00ad\u200d'],
    ['private use', 'a\ue000'],
    ['control character beside non-ASCII', '\u00e9\u0007'],
    ['unassigned in Unicode 3.2', '\u{1f600}'],
    ['the last code point', '\u{10ffff}'],
    ['lone surrogate', 'a\ud800'],
  ])('forbids: %s', (_, input) => {
    expect(saslprep(input)).toBeUndefined();
    expect(preparedPassword(input)).toEqual(Buffer.from(input, 'utf8'));
  });

  test('an ASCII password is not touched, as in pg_saslprep', () => {
    const ascii = String.fromCharCode(...Array.from({ length: 127 }, (_, index) => index + 1));
    expect(saslprep(ascii)).toBe(ascii);
    expect(saslprep('')).toBe('');
  });

  test('looks for forbidden characters before normalisation, as pg_saslprep does', () => {
    // RFC 4013 looks at the result: it would allow the first and forbid the others.
    expect(saslprep('a\u0340b')).toBeUndefined();
    expect(saslprep('a\u2135b')).toBe('a\u05d0b');
    expect(saslprep('\ufc5e')).toBe(' \u064c\u0651');
  });

  test('a long password', () => {
    const long = 'u\u0308'.repeat(65_536);
    expect(saslprep(long)).toBe('\u00fc'.repeat(65_536));
  });
});
