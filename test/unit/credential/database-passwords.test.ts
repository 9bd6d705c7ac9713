/** What a database is told while a password is being changed. */

import { describe, expect, test } from 'bun:test';
import type { UserCredential } from '../../../src/credential/credentials.ts';
import { DatabaseTokens } from '../../../src/credential/database-tokens.ts';
import { Secret } from '../../../src/credential/secret.ts';
import { identityOf } from '../../../src/credential/secret-identity.ts';
import {
  DatabasePasswords,
  firstPassword,
  ROTATION_GRACE_MS,
} from '../../../src/engine/database-passwords.ts';

const ADDRESS = { host: 'orders.example', port: 5432 };

class Fixture {
  known: UserCredential | undefined = credential('current');
  /** What a refresh finds. */
  newest: UserCredential | undefined = undefined;
  refreshes = 0;
  now = 0;
  isIam = false;
  signed: number | 'failing' = 0;
  readonly passwords = new DatabasePasswords({
    find: () => this.known,
    hasToken: () => this.isIam,
    tokens: new DatabaseTokens({
      sign: async ({ username, hostname, port, region }) => {
        expect([hostname, port, region]).toEqual(['orders.example', 5432, 'us-east-1']);
        if (this.signed === 'failing') throw new Error('no credentials are to be found');
        return `token ${++this.signed} of ${username}`;
      },
      region: () => 'us-east-1',
      now: () => this.now,
    }),
    refresh: async () => {
      this.refreshes++;
      this.known = this.newest ?? this.known;
    },
    now: () => this.now,
  });

  /** The passwords of one log-in at a database that takes only `right`; and how it ends. */
  async logIn(right: string | undefined): Promise<readonly string[]> {
    const login = this.passwords.loginOf('app');
    if (login === undefined) return ['nobody'];
    const tried: string[] = [];
    const first =
      login.password instanceof Secret
        ? login.password
        : await firstPassword(login.password, ADDRESS);
    if ('why' in first) return [first.why];
    let password: Secret | 'wait' | undefined = first;
    while (password instanceof Secret) {
      tried.push(password.reveal());
      if (password.reveal() === right) {
        login.trial.accepted();
        return [...tried, 'accepted'];
      }
      password = await login.trial.refused();
    }
    return [...tried, password ?? 'refused'];
  }
}

function credential(current: string, ...others: readonly string[]): UserCredential {
  const password = new Secret(current);
  return {
    user: 'app',
    password,
    others: others.map((each) => ({ password: new Secret(each), acceptedUntil: 0 })),
    isIam: false,
    mayChange: true,
    clientPasswordAuthType: 'POSTGRES_SCRAM_SHA_256',
    version: identityOf(password),
  };
}

test('the current password first, then the others, each once', async () => {
  const fixture = new Fixture();
  fixture.known = credential('current', 'pending', 'current', 'former');
  expect(await fixture.logIn('current')).toEqual(['current', 'accepted']);
  expect(await fixture.logIn('former')).toEqual(['current', 'pending', 'former', 'accepted']);
  expect(fixture.refreshes).toBe(0);
});

test('when all are refused the secret is looked up again, once', async () => {
  const fixture = new Fixture();
  fixture.newest = credential('newest');
  expect(await fixture.logIn('newest')).toEqual(['current', 'newest', 'accepted']);
  expect(fixture.refreshes).toBe(1);
  expect(await fixture.logIn(undefined)).toEqual(['newest', 'wait']);
  expect(fixture.refreshes).toBe(2);
});

test('who was never let in is refused at once', async () => {
  const fixture = new Fixture();
  expect(await fixture.logIn(undefined)).toEqual(['current', 'refused']);
  expect(fixture.passwords.isChanging('app')).toBeFalse();
});

test('who was let in before is given time, once', async () => {
  const fixture = new Fixture();
  await fixture.logIn('current');
  expect(await fixture.logIn(undefined)).toEqual(['current', 'wait']);
  fixture.now += ROTATION_GRACE_MS - 1;
  expect(await fixture.logIn(undefined)).toEqual(['current', 'wait']);
  expect(fixture.passwords.isChanging('app')).toBeTrue();
  fixture.now += 1;
  expect(await fixture.logIn(undefined)).toEqual(['current', 'refused']);
  fixture.now += ROTATION_GRACE_MS;
  expect(await fixture.logIn(undefined)).toEqual(['current', 'refused']);
  expect(await fixture.logIn('current')).toEqual(['current', 'accepted']);
  expect(await fixture.logIn(undefined)).toEqual(['current', 'wait']);
});

test('a secret that only a reload changes is waited for by nobody', async () => {
  const fixture = new Fixture();
  fixture.known = { ...credential('current'), mayChange: false };
  expect(await fixture.logIn('current')).toEqual(['current', 'accepted']);
  expect(await fixture.logIn(undefined)).toEqual(['current', 'refused']);
  expect(fixture.passwords.isChanging('app')).toBeFalse();
});

test('a user who is gone is forgotten', async () => {
  const fixture = new Fixture();
  await fixture.logIn('current');
  fixture.known = undefined;
  fixture.passwords.prune();
  expect(await fixture.logIn('current')).toEqual(['nobody']);
  fixture.known = credential('current');
  expect(await fixture.logIn(undefined)).toEqual(['current', 'refused']);
});

describe('a token in place of a password', () => {
  const MINUTE = 60_000;

  function fixtureWithTokens(): Fixture {
    const fixture = new Fixture();
    fixture.known = undefined;
    fixture.isIam = true;
    return fixture;
  }

  test('is used again for less than the 15 minutes for which it is good', async () => {
    const fixture = fixtureWithTokens();
    const first = 'token 1 of app';
    expect(await fixture.logIn(first)).toEqual([first, 'accepted']);
    fixture.now = 9 * MINUTE;
    expect(await fixture.logIn(first)).toEqual([first, 'accepted']);
    fixture.now = 11 * MINUTE;
    const second = 'token 2 of app';
    expect(await fixture.logIn(second)).toEqual([second, 'accepted']);
  });

  test('that is refused is replaced once, if it is not new', async () => {
    const fixture = fixtureWithTokens();
    expect(await fixture.logIn('none')).toEqual(['token 1 of app', 'refused']);
    fixture.now = MINUTE;
    expect(await fixture.logIn('token 2 of app')).toEqual([
      'token 1 of app',
      'token 2 of app',
      'accepted',
    ]);
    fixture.now = 2 * MINUTE;
    expect(await fixture.logIn('none')).toEqual(['token 2 of app', 'token 3 of app', 'refused']);
  });

  test('that cannot be made is no log-in, and is tried again with the next', async () => {
    const fixture = fixtureWithTokens();
    fixture.signed = 'failing';
    const why = 'no IAM token could be made: no credentials are to be found';
    expect(await fixture.logIn('any')).toEqual([why]);
    fixture.signed = 0;
    expect(await fixture.logIn('token 1 of app')).toEqual(['token 1 of app', 'accepted']);
  });

  test('is not for a user with a secret', async () => {
    const fixture = fixtureWithTokens();
    fixture.known = credential('current');
    expect(await fixture.logIn('current')).toEqual(['current', 'accepted']);
  });
});
