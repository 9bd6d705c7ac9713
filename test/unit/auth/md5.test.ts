import { describe, expect, test } from 'bun:test';
import { Secret } from '../../../src/credential/secret.ts';
import { isMd5Response, md5Response } from '../../../src/engine/postgres/auth/md5.ts';

describe('md5', () => {
  const salt = Buffer.from([1, 2, 3, 4]);

  test('is what md5(md5(password user) salt) gives', () => {
    // printf 'md5'; printf '%s\1\2\3\4' "$(printf passworduser | md5sum | cut -c-32)" | md5sum
    const response = md5Response('user', new Secret('password'), salt);
    expect(response).toBe(EXPECTED);
  });

  test('any other answer is wrong', () => {
    const right = md5Response('user', new Secret('p\u00e4ss'), salt);
    expect(isMd5Response(Buffer.from(right), right)).toBe(true);
    for (const wrong of ['', right.slice(1), `${right}0`, right.toUpperCase(), 'p\u00e4ss']) {
      expect(isMd5Response(Buffer.from(wrong), right)).toBe(false);
    }
  });
});

const EXPECTED = 'md5a3576f1ae039b8996bc4fc2720f9c71a';
