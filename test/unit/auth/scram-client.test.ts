import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { Secret } from '../../../src/credential/secret.ts';
import { type ClientBinding, ScramClient } from '../../../src/engine/postgres/auth/scram-client.ts';
import { ScramKeyCache } from '../../../src/engine/postgres/auth/scram-key-cache.ts';
import { ScramKeys } from '../../../src/engine/postgres/auth/scram-keys.ts';
import {
  SCRAM_ITERATIONS_MAX,
  SCRAM_SALT_BYTES_MAX,
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
} from '../../../src/engine/postgres/auth/scram-message.ts';
import { ScramServer } from '../../../src/engine/postgres/auth/scram-server.ts';
import { bytes, clientFor, messageOf, quickVerifier, RFC_7677, text } from './fixtures.ts';

const MALFORMED = { kind: 'failed', why: 'malformed' } as const;

test('the proof and the signature of RFC 7677', async () => {
  const { password, salt, iterations, clientFirst, serverFirst, clientFinal } = RFC_7677;
  const keys = await ScramKeys.derive(password, salt, iterations);
  const withoutProof = clientFinal.slice(0, clientFinal.indexOf(',p='));
  const authMessage = `${clientFirst.slice(3)},${serverFirst},${withoutProof}`;
  const proof = keys.clientProof(authMessage).toString('base64');
  expect(`${withoutProof},p=${proof}`).toBe(clientFinal);
  expect(`v=${keys.serverSignature(authMessage).toString('base64')}`).toBe(RFC_7677.serverFinal);
});

describe('against our own server', () => {
  const passwords = fc.oneof(
    fc.string({ minLength: 1 }),
    fc.string({ unit: 'binary', minLength: 1 }),
    fc.string({ unit: 'grapheme', minLength: 1, maxLength: 300 }),
  );

  test('the same password logs in, and both sides know it', async () => {
    await fc.assert(
      fc.asyncProperty(passwords, async (password) => {
        expect(await exchange(password, password)).toBe('mutual');
      }),
      { numRuns: 200 },
    );
  });

  test('another password does not', async () => {
    await fc.assert(
      fc.asyncProperty(passwords, async (password) => {
        expect(await exchange(password, `${password}!`)).toBe('wrong_proof');
      }),
    );
  });

  test('64 KiB', async () => {
    const password = '\u00fc'.repeat(32_768);
    expect(await exchange(password, password)).toBe('mutual');
    expect(await exchange(password, password.slice(1))).toBe('wrong_proof');
  });

  test('a password and its normal form are the same', async () => {
    expect(await exchange('e\u0301\u00a0x', '\u00e9 x')).toBe('mutual');
  });

  test('with channel binding', async () => {
    const serverEndPoint = Buffer.alloc(32, 7);
    const plus = { mechanism: SCRAM_SHA_256_PLUS, serverEndPoint } as const;
    expect(await exchange('p', 'p', { flag: 'p', serverEndPoint }, plus)).toBe('mutual');
    const other = { flag: 'p', serverEndPoint: Buffer.alloc(32, 8) } as const;
    expect(await exchange('p', 'p', other, plus)).toBe('malformed');
    expect(await exchange('p', 'p', { flag: 'y' })).toBe('mutual');
  });

  async function exchange(
    stored: string,
    entered: string,
    binding: ClientBinding = { flag: 'n' },
    offer: { mechanism: typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS } = {
      mechanism: SCRAM_SHA_256,
    },
  ): Promise<string> {
    const server = new ScramServer({ verifier: await quickVerifier(stored), ...offer });
    const keys = new ScramKeyCache();
    const client = new ScramClient({ password: new Secret(entered), keys, binding });
    const serverFirst = messageOf(server.start(client.first()));
    const result = server.finish(messageOf(await client.continue(serverFirst)));
    if (result.kind === 'failed') return result.why;
    return client.verify(result.message) ? 'mutual' : 'server not verified';
  }
});

describe('server-first', () => {
  const salt = 's=MDEyMzQ1Njc4OWFiY2RlZg==';

  test('one iteration is enough', async () => {
    expect((await answerTo((nonce) => `r=${nonce}x,${salt},i=1`)).kind).toBe('message');
  });

  test.each<[string, (nonce: string) => string]>([
    ['nothing', () => ''],
    ['a nonce that is not ours', (nonce) => `r=x${nonce},${salt},i=1`],
    ['a nonce that only repeats ours', (nonce) => `r=${nonce},${salt},i=1`],
    ['no iterations', (nonce) => `r=${nonce}x,${salt}`],
    ['0 iterations', (nonce) => `r=${nonce}x,${salt},i=0`],
    ['-1 iterations', (nonce) => `r=${nonce}x,${salt},i=-1`],
    ['1.5 iterations', (nonce) => `r=${nonce}x,${salt},i=1.5`],
    ['iterations in another notation', (nonce) => `r=${nonce}x,${salt},i=1e3`],
    ['a leading zero', (nonce) => `r=${nonce}x,${salt},i=01`],
    ['too many iterations', (nonce) => `r=${nonce}x,${salt},i=${SCRAM_ITERATIONS_MAX + 1}`],
    ['10^7 iterations', (nonce) => `r=${nonce}x,${salt},i=10000000`],
    ['10^400 iterations', (nonce) => `r=${nonce}x,${salt},i=1${'0'.repeat(400)}`],
    ['no salt', (nonce) => `r=${nonce}x,i=1`],
    ['an empty salt', (nonce) => `r=${nonce}x,s=,i=1`],
    ['a salt that is not base64', (nonce) => `r=${nonce}x,s=!!!!,i=1`],
    ['a salt without padding', (nonce) => `r=${nonce}x,s=AA,i=1`],
    [
      'a huge salt',
      (nonce) => `r=${nonce}x,s=${Buffer.alloc(SCRAM_SALT_BYTES_MAX + 1).toString('base64')},i=1`,
    ],
    ['a huge nonce', (nonce) => `r=${nonce}${'x'.repeat(700)},${salt},i=1`],
    ['wrong order', (nonce) => `${salt},r=${nonce}x,i=1`],
    ['a mandatory extension', (nonce) => `m=x,r=${nonce}x,${salt},i=1`],
    ['something behind it', (nonce) => `r=${nonce}x,${salt},i=1,x=1`],
    ['a trailing comma', (nonce) => `r=${nonce}x,${salt},i=1,`],
    ['a zero byte', (nonce) => `r=${nonce}x,${salt},i=1\0`],
  ])('refuses %s', async (_, message) => {
    expect(await answerTo(message)).toEqual(MALFORMED);
  });

  async function answerTo(message: (nonce: string) => string) {
    const client = clientFor('password');
    const nonce = text(client.first()).slice('n,,n=,r='.length);
    return client.continue(bytes(message(nonce)));
  }

  test('twice, without waiting: neither is answered', async () => {
    const client = clientFor('password');
    const nonce = text(client.first()).slice('n,,n=,r='.length);
    const message = bytes(`r=${nonce}x,${salt},i=1`);
    const answers = await Promise.all([client.continue(message), client.continue(message)]);
    expect(answers).toEqual([MALFORMED, MALFORMED]);
  });

  test('before client-first', async () => {
    const client = clientFor('password');
    expect(await client.continue(bytes(`r=x,${salt},i=1`))).toEqual(MALFORMED);
  });
});

describe('server-final', () => {
  test.each<[string, (right: string) => string, boolean]>([
    ['the right signature', (right) => right, true],
    ['another signature', () => `v=${Buffer.alloc(32).toString('base64')}`, false],
    ['a short signature', () => 'v=AAAA', false],
    ['no padding', (right) => right.slice(0, -1), false],
    ['something behind it', (right) => `${right},x=1`, false],
    ['an error', () => 'e=invalid-proof', false],
    ['nothing', () => '', false],
  ])('%s', async (_, message, isVerified) => {
    const server = new ScramServer({
      verifier: await quickVerifier('password'),
      mechanism: SCRAM_SHA_256,
    });
    const client = clientFor('password');
    const final = await client.continue(messageOf(server.start(client.first())));
    const right = text(messageOf(server.finish(messageOf(final))));
    expect(client.verify(bytes(message(right)))).toBe(isVerified);
    // Once is all.
    expect(client.verify(bytes(right))).toBe(false);
  });

  test('before client-final', () => {
    const client = clientFor('password');
    client.first();
    expect(client.verify(bytes(RFC_7677.serverFinal))).toBe(false);
  });
});
