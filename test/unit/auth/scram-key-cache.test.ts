import { describe, expect, test } from 'bun:test';
import { inspect } from 'node:util';
import { Secret } from '../../../src/credential/secret.ts';
import { ScramKeyCache } from '../../../src/engine/postgres/auth/scram-key-cache.ts';
import { ScramKeys } from '../../../src/engine/postgres/auth/scram-keys.ts';
import { ScramVerifiers } from '../../../src/engine/postgres/auth/scram-verifiers.ts';

const SALT = Buffer.from('0123456789abcdef');

function countingCache(entriesMax?: number) {
  const derived: string[] = [];
  const derive: typeof ScramKeys.derive = (password, salt, iterations) => {
    derived.push(password.reveal());
    return ScramKeys.derive(password, salt, iterations);
  };
  const cache = new ScramKeyCache(entriesMax === undefined ? { derive } : { derive, entriesMax });
  return { cache, derived };
}

describe('ScramKeyCache', () => {
  test('a storm of logins derives once, and later ones do not wait', async () => {
    const { cache, derived } = countingCache();
    const storm = Array.from({ length: 1000 }, () => cache.keysFor(new Secret('p'), SALT, 4096));
    const all = await Promise.all(storm);
    expect(derived).toEqual(['p']);
    expect(new Set(all).size).toBe(1);
    expect(cache.keysFor(new Secret('p'), SALT, 4096)).toBeInstanceOf(ScramKeys);
  });

  test('PG-16: another password, salt or count is another entry', async () => {
    const { cache, derived } = countingCache();
    await cache.keysFor(new Secret('p'), SALT, 1);
    await cache.keysFor(new Secret('q'), SALT, 1);
    await cache.keysFor(new Secret('p'), Buffer.from('another salt'), 1);
    await cache.keysFor(new Secret('p'), SALT, 2);
    expect(derived).toEqual(['p', 'q', 'p', 'p']);
  });

  test('the least recently used entry goes first', async () => {
    const { cache, derived } = countingCache(2);
    for (const password of ['a', 'b', 'a', 'c', 'a', 'b']) {
      await cache.keysFor(new Secret(password), SALT, 1);
    }
    expect(derived).toEqual(['a', 'b', 'c', 'b']);
    expect(cache.size).toBe(2);
  });

  test('stays within its limit while everything is being derived', async () => {
    const { cache } = countingCache(3);
    const pending = Array.from({ length: 50 }, (_, index) =>
      cache.keysFor(new Secret(`p${index}`), SALT, 1),
    );
    expect(cache.size).toBe(3);
    await Promise.all(pending);
    expect(cache.size).toBe(3);
  });

  test('a failure is told to all who wait, and not remembered', async () => {
    let attempts = 0;
    const cache = new ScramKeyCache({
      derive: async (password, salt, iterations) => {
        attempts++;
        if (attempts === 1) throw new Error('no thread');
        return ScramKeys.derive(password, salt, iterations);
      },
    });
    const ask = async () => cache.keysFor(new Secret('p'), SALT, 1);
    const first = await Promise.allSettled([ask(), ask()]);
    expect(first.map((result) => result.status)).toEqual(['rejected', 'rejected']);
    expect(await ask()).toBeInstanceOf(ScramKeys);
    expect(attempts).toBe(2);
  });

  test('the event loop goes on while keys are derived', async () => {
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    await new ScramKeyCache().keysFor(new Secret('p'), SALT, 1_000_000);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });

  test('prints neither passwords nor keys', async () => {
    const { cache } = countingCache();
    const keys = await cache.keysFor(new Secret('hunter2'), SALT, 1);
    for (const shown of [inspect(cache, { showHidden: true, depth: 9 }), JSON.stringify(cache)]) {
      expect(shown).not.toContain('hunter2');
      expect(shown).not.toContain('Buffer');
    }
    expect([inspect(keys), JSON.stringify(keys)]).toEqual(['[secret]', '"[secret]"']);
    expect(Bun.inspect(keys)).toBe('[secret]');
  });
});

describe('ScramVerifiers', () => {
  test('a user has the same salt before, with and after a password', async () => {
    const verifiers = new ScramVerifiers();
    const unknown = await verifiers.verifierFor('app', undefined);
    const known = await verifiers.verifierFor('app', new Secret('one'));
    const changed = await verifiers.verifierFor('app', new Secret('two'));
    expect(known.salt).toEqual(unknown.salt);
    expect(changed.salt).toEqual(unknown.salt);
    expect([unknown.isMock, known.isMock, changed.isMock]).toEqual([true, false, false]);
    expect(changed.keys).not.toBe(known.keys);
    expect(known).toMatchObject({ iterations: 4096 });
  });

  test('users have different salts, processes too', async () => {
    const verifiers = new ScramVerifiers();
    const salts = await Promise.all([
      verifiers.verifierFor('a', undefined),
      verifiers.verifierFor('b', undefined),
      new ScramVerifiers().verifierFor('a', undefined),
    ]);
    expect(new Set(salts.map(({ salt }) => Buffer.from(salt).toString('hex'))).size).toBe(3);
  });

  test('an empty password lets nobody in', async () => {
    const verifier = await new ScramVerifiers().verifierFor('app', new Secret(''));
    expect(verifier.isMock).toBe(true);
  });

  test('once warm, nobody waits', async () => {
    const { cache, derived } = countingCache();
    const verifiers = new ScramVerifiers({ keys: cache });
    const password = new Secret('p');
    await verifiers.warm([
      { user: 'a', password },
      { user: 'b', password },
    ]);
    expect(derived).toHaveLength(2);
    expect(verifiers.verifierFor('a', password)).not.toBeInstanceOf(Promise);
    expect(verifiers.verifierFor('b', new Secret('p'))).not.toBeInstanceOf(Promise);
  });
});
