/** Secrets at rest: the keyring, and what becomes of values when keys change. */

import { afterEach, beforeEach, describe, expect, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { bootstrapPrincipal } from '../../../src/control/iam/bootstrap.ts';
import { Keyring } from '../../../src/control/secrets/keyring.ts';
import { Vault } from '../../../src/control/secrets/vault.ts';
import type { SecretRecord } from '../../../src/control/state/records.ts';
import { SqliteStore } from '../../../src/control/state/sqlite-store.ts';

const newKey = () => randomBytes(32).toString('base64');

function keyring(...keys: readonly string[]): Keyring {
  const parsed = Keyring.parse(keys.join('\n'));
  if (parsed === undefined) throw new Error('no keys');
  return parsed;
}

describe('keys', () => {
  const key = newKey();

  test.each([
    ['base64', key],
    ['base64 without its end', key.replace(/=$/, '')],
    ['the alphabet for addresses', key.replaceAll('+', '-').replaceAll('/', '_')],
    ['hexadecimal', Buffer.from(key, 'base64').toString('hex')],
    ['lines and remarks', `# the key of 2026\n\n  ${key}\r\n`],
  ])('are read in %s', (_name, text) => {
    const sealed = keyring(key).seal(Buffer.from('value'), 'place');
    expect(Keyring.parse(text)?.open(sealed, 'place').toString()).toBe('value');
  });

  test.each([
    ['nothing', ''],
    ['only a remark', '# none'],
    ['one that is short', randomBytes(31).toString('base64')],
    ['one that is long', randomBytes(33).toString('base64')],
    ['a password', 'correct horse battery staple'],
    ['a second one that is none', `${key}, nonsense`],
  ])('are not %s', (_name, text) => {
    expect(Keyring.parse(text)).toBeUndefined();
  });

  test('do not print', () => {
    const printed = `${JSON.stringify(keyring(key))} ${Bun.inspect(keyring(key))}`;
    expect(printed).not.toContain(key);
    expect(printed).not.toContain(Buffer.from(key, 'base64').toString('hex'));
  });
});

describe('a value', () => {
  test('opens as what it was, whatever it is', () => {
    const ring = keyring(newKey());
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string(), (value, place) => {
        const opened = ring.open(ring.seal(value, place), place);
        expect(opened.equals(Buffer.from(value))).toBeTrue();
      }),
    );
  });

  test('is never encrypted twice in the same way', () => {
    const ring = keyring(newKey());
    const sealed = Array.from({ length: 100 }, () => ring.seal(Buffer.from('v'), 'p').value);
    expect(new Set(sealed).size).toBe(100);
  });

  test('does not open anywhere else, with any byte changed, or cut', () => {
    const ring = keyring(newKey());
    const sealed = ring.seal(Buffer.from('value'), 'place');
    expect(() => ring.open(sealed, 'elsewhere')).toThrow('it is damaged');
    const bytes = Buffer.from(sealed.value, 'base64');
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes);
      changed[at] = (changed[at] ?? 0) ^ 1;
      const value = changed.toString('base64');
      expect(() => ring.open({ ...sealed, value }, 'place')).toThrow('it is damaged');
      const cut = bytes.subarray(0, at).toString('base64');
      expect(() => ring.open({ ...sealed, value: cut }, 'place')).toThrow('it is damaged');
    }
  });
});

describe('a vault', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'berth-vault-'));
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  function withVault<Result>(
    keys: Keyring | undefined,
    body: (vault: Vault, store: SqliteStore) => Result,
  ): Result {
    const store = new SqliteStore(directory);
    try {
      return body(new Vault({ store, directory, keys }), store);
    } finally {
      store.close();
    }
  }

  function put(vault: Vault, store: SqliteStore, value: string): void {
    const id = 'name-AbCdEf';
    const version = {
      id: 'v1',
      createdAt: '2026-01-01T00:00:00.000Z',
      stages: ['AWSCURRENT'],
      isBinary: false,
      sealed: vault.seal(Buffer.from(value), id, 'v1'),
    };
    store.commit([{ put: { kind: 'secret', id, name: 'name', tags: [], versions: [version] } }]);
  }

  function value(vault: Vault, store: SqliteStore): string {
    const [secret] = store.records as readonly SecretRecord[];
    const [version] = secret?.versions ?? [];
    if (secret === undefined || version === undefined) throw new Error('there is no secret');
    return vault.open(secret, version).toString();
  }

  const keyFile = () => join(directory, 'secrets.key');

  test('makes a key with the first secret, for nobody else to read', () => {
    withVault(undefined, () => undefined);
    expect(readdirSync(directory)).not.toContain('secrets.key');
    withVault(undefined, (vault, store) => put(vault, store, 'value'));
    expect(statSync(keyFile()).mode & 0o777).toBe(0o600);
    expect(withVault(undefined, value)).toBe('value');
  });

  test('keeps no value in clear', () => {
    const canary = 'canary-in-a-mine';
    withVault(undefined, (vault, store) => put(vault, store, canary));
    const written = readdirSync(directory).map((name) => readFileSync(join(directory, name)));
    expect(written.some((bytes) => bytes.includes(canary))).toBeFalse();
  });

  test('opens nothing without its key, or with another', () => {
    const key = newKey();
    withVault(keyring(key), (vault, store) => put(vault, store, 'value'));
    expect(() => withVault(undefined, value)).toThrow(
      /The secret name cannot be opened: it is encrypted with the key [0-9a-f]{12}, which is not given/,
    );
    expect(() => withVault(keyring(newKey()), value)).toThrow('which is not given');
    expect(withVault(keyring(key), value)).toBe('value');
  });

  test('is encrypted anew with a new key, after which the old one may go', () => {
    const [old, young] = [newKey(), newKey()];
    withVault(keyring(old), (vault, store) => put(vault, store, 'value'));
    expect(withVault(keyring(young, old), value)).toBe('value');
    expect(withVault(keyring(young), value)).toBe('value');
    expect(() => withVault(keyring(old), value)).toThrow('which is not given');
  });

  test('takes other keys while it is in use', () => {
    const [old, young] = [newKey(), newKey()];
    withVault(keyring(old), (vault, store) => {
      put(vault, store, 'value');
      expect(() => vault.use(keyring(young))).toThrow('which is not given');
      expect(value(vault, store)).toBe('value');
      vault.use(keyring(young, old));
      vault.use(keyring(young));
      expect(value(vault, store)).toBe('value');
    });
  });

  test('goes from the key that it has made to one of the configuration', () => {
    withVault(undefined, (vault, store) => put(vault, store, 'value'));
    const key = newKey();
    withVault(keyring(key), () => undefined);
    rmSync(keyFile());
    expect(withVault(keyring(key), value)).toBe('value');
  });

  test('needs no key before there is a secret', () => {
    mkdirSync(keyFile());
    withVault(undefined, (vault, store) => {
      vault.use(undefined);
      expect(() => put(vault, store, 'value')).toThrow(/the key ".*secrets\.key" cannot be read/);
      expect(store.records).toEqual([]);
      rmSync(keyFile(), { recursive: true });
      put(vault, store, 'value');
    });
    expect(withVault(undefined, value)).toBe('value');
    rmSync(keyFile());
    mkdirSync(keyFile());
    expect(() => withVault(undefined, value)).toThrow('cannot be read: EISDIR');
  });

  test('encrypts with the key that is kept when its secrets are gone', () => {
    const remove = { kind: 'secret' as const, id: 'name-AbCdEf' };
    withVault(undefined, (vault, store) => {
      put(vault, store, 'value');
      store.commit([{ remove }]);
    });
    const kept = readFileSync(keyFile(), 'utf8');
    withVault(undefined, (vault, store) => put(vault, store, 'another'));
    expect(readFileSync(keyFile(), 'utf8')).toBe(kept);
    expect(withVault(undefined, value)).toBe('another');
  });

  test('says so when its key was lost or spoiled', () => {
    withVault(undefined, (vault, store) => put(vault, store, 'value'));
    writeFileSync(keyFile(), 'nonsense');
    expect(() => withVault(undefined, value)).toThrow('holds no key');
    rmSync(keyFile());
    expect(() => withVault(undefined, value)).toThrow('The secret name cannot be opened');
  });

  describe('keeps a principal', () => {
    const principal = bootstrapPrincipal();

    function putPrincipal(vault: Vault, store: SqliteStore): void {
      store.commit([{ put: vault.sealPrincipal('first', principal, new Date()) }]);
    }

    function opened(vault: Vault, store: SqliteStore) {
      const [record] = store.records;
      if (record?.kind !== 'principal') throw new Error('there is no principal');
      return vault.openPrincipal(record);
    }

    test('with its key', () => {
      withVault(undefined, putPrincipal);
      expect(withVault(undefined, opened)).toEqual(principal);
      rmSync(keyFile());
      expect(() => withVault(undefined, opened)).toThrow(
        /The principal first cannot be opened: it is encrypted with the key [0-9a-f]{12}, which is not given/,
      );
    });

    test('with a new key, after which the old one may go', () => {
      const [old, young] = [newKey(), newKey()];
      withVault(keyring(old), putPrincipal);
      expect(() => withVault(keyring(young), opened)).toThrow('which is not given');
      expect(withVault(keyring(young, old), opened)).toEqual(principal);
      expect(withVault(keyring(young), opened)).toEqual(principal);
    });

    test('that opens in no other place', () => {
      withVault(undefined, (vault, store) => {
        putPrincipal(vault, store);
        const [record] = store.records;
        if (record?.kind !== 'principal') throw new Error('there is no principal');
        const other = { ...record, id: 'other' };
        expect(vault.openPrincipal(other)).toBeUndefined();
        store.commit([{ put: other }]);
      });
      expect(() => withVault(undefined, opened)).toThrow(
        'The principal other cannot be opened: it is damaged',
      );
    });
  });

  test('opens no value that was put into the place of another', () => {
    withVault(undefined, (vault, store) => {
      put(vault, store, 'value');
      const [secret] = store.records as readonly SecretRecord[];
      if (secret === undefined) throw new Error('there is no secret');
      store.commit([{ put: { ...secret, id: 'other-AbCdEf', name: 'other' } }]);
    });
    expect(() => withVault(undefined, value)).toThrow(
      'The secret other cannot be opened: it is damaged',
    );
  });
});
