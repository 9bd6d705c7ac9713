import { describe, expect, test } from 'bun:test';
import { inspect } from 'node:util';
import {
  type AuthSource,
  type ClientPasswordAuthType,
  Credentials,
  SECRETS_PER_PROXY_MAX,
  type SecretSource,
} from '../../../src/credential/credentials.ts';
import { Secret } from '../../../src/credential/secret.ts';
import { identityOf } from '../../../src/credential/secret-identity.ts';

function secret(Name: string, username: string, password = 'hunter2'): SecretSource {
  return { Name, username, password: new Secret(password) };
}

function auth(
  SecretArn: string,
  ClientPasswordAuthType: ClientPasswordAuthType = 'POSTGRES_SCRAM_SHA_256',
): AuthSource {
  return { SecretArn, ClientPasswordAuthType, IAMAuth: 'DISABLED' };
}

describe('Credentials', () => {
  test('finds users by name, byte for byte', () => {
    const secrets = [secret('one', 'app', 'first'), secret('two', 'App', 'second')];
    const { credentials, problems } = Credentials.resolve(
      [auth('one'), auth('two', 'POSTGRES_MD5')],
      secrets,
    );
    expect(problems).toEqual([]);
    expect(credentials.find('app')?.password.reveal()).toBe('first');
    expect(credentials.find('App')).toMatchObject({
      user: 'App',
      clientPasswordAuthType: 'POSTGRES_MD5',
    });
    expect(credentials.find('APP')).toBeUndefined();
    expect(credentials.find('__proto__')).toBeUndefined();
    expect([...credentials].map(({ user }) => user)).toEqual(['app', 'App']);
  });

  test('secrets that no entry names are not used', () => {
    const { credentials } = Credentials.resolve([], [secret('one', 'app')]);
    expect(credentials.find('app')).toBeUndefined();
    expect(credentials.size).toBe(0);
  });

  test('the version is that of the password', () => {
    const versionOf = (password: string) =>
      Credentials.resolve([auth('one')], [secret('one', 'app', password)]).credentials.find('app')
        ?.version;
    expect(versionOf('first')).toBeDefined();
    expect(versionOf('first')).toBe(versionOf('first'));
    expect(versionOf('first')).not.toBe(versionOf('second'));
  });

  test('a user in two entries is an error, and nobody logs in as that user', () => {
    const secrets = [secret('one', 'app'), secret('two', 'app'), secret('three', 'other')];
    const entries = [auth('one'), auth('two'), auth('three')];
    const { credentials, problems } = Credentials.resolve(entries, secrets);
    expect(problems).toEqual([
      {
        kind: 'duplicate_user',
        authIndex: 1,
        text: `Credentials couldn't be retrieved. The database user "app" was found in multiple DB proxy authentication entries`,
      },
    ]);
    expect(credentials.find('app')).toBeUndefined();
    expect(credentials.find('other')).toBeDefined();
  });

  test('three entries for a user do not make it known again', () => {
    const entries = [auth('one'), auth('one'), auth('one')];
    const { credentials, problems } = Credentials.resolve(entries, [secret('one', 'app')]);
    expect(problems.map(({ authIndex }) => authIndex)).toEqual([1, 2]);
    expect(credentials.find('app')).toBeUndefined();
  });

  test('a secret that does not exist', () => {
    const { credentials, problems } = Credentials.resolve(
      [auth('gone'), auth('one')],
      [secret('one', 'app')],
    );
    expect(problems).toMatchObject([{ kind: 'secret_missing', authIndex: 0 }]);
    expect(credentials.find('app')).toBeDefined();
  });

  test('200 secrets and no more', () => {
    const named = Array.from({ length: SECRETS_PER_PROXY_MAX + 1 }, (_, index) => `u${index}`);
    const secrets = named.map((name) => secret(name, name));
    const entries = named.map((name) => auth(name));
    const full = Credentials.resolve(entries.slice(0, -1), secrets);
    expect(full.problems).toEqual([]);
    expect(full.credentials.size).toBe(SECRETS_PER_PROXY_MAX);
    const over = Credentials.resolve(entries, secrets);
    expect(over.problems).toMatchObject([{ kind: 'too_many_secrets', authIndex: 200 }]);
    expect(over.credentials.size).toBe(SECRETS_PER_PROXY_MAX);
  });

  test('an unknown user is asked as most are, SCRAM when in doubt', () => {
    const secrets = [secret('a', 'a'), secret('b', 'b'), secret('c', 'c')];
    const resolve = (...types: ClientPasswordAuthType[]) =>
      Credentials.resolve(
        types.map((type, index) => auth('abc'.charAt(index), type)),
        secrets,
      ).credentials;
    expect(resolve().authTypeFor('x')).toBe('POSTGRES_SCRAM_SHA_256');
    expect(resolve('POSTGRES_MD5').authTypeFor('x')).toBe('POSTGRES_MD5');
    const even = resolve('POSTGRES_MD5', 'POSTGRES_SCRAM_SHA_256');
    expect(even.authTypeFor('x')).toBe('POSTGRES_SCRAM_SHA_256');
    expect(even.authTypeFor('a')).toBe('POSTGRES_MD5');
  });

  test('never prints a password', () => {
    const secrets = [secret('one', 'app'), secret('two', 'app')];
    const resolved = Credentials.resolve([auth('one'), auth('two'), auth('gone')], secrets);
    const single = Credentials.resolve([auth('one')], secrets);
    for (const value of [resolved, single, single.credentials.find('app'), secrets]) {
      const shown = [
        inspect(value, { showHidden: true, depth: 9 }),
        Bun.inspect(value),
        JSON.stringify(value),
      ];
      expect(shown.join()).not.toContain('hunter2');
    }
  });
});

test('the identity of a secret says nothing about its length or value', () => {
  const identities = ['', 'a', 'hunter2', 'x'.repeat(65_536)].map((v) => identityOf(new Secret(v)));
  expect(new Set(identities).size).toBe(4);
  expect(new Set(identities.map(({ length }) => length)).size).toBe(1);
  expect(identityOf(new Secret('a'))).toBe(identityOf(new Secret('a')));
});
