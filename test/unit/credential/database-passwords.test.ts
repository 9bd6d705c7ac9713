/** What a database is told while a password is being changed. */

import { expect, test } from 'bun:test';
import type { UserCredential } from '../../../src/credential/credentials.ts';
import { Secret } from '../../../src/credential/secret.ts';
import { identityOf } from '../../../src/credential/secret-identity.ts';
import { DatabasePasswords, ROTATION_GRACE_MS } from '../../../src/engine/database-passwords.ts';

class Fixture {
  known: UserCredential | undefined = credential('current');
  /** What a refresh finds. */
  newest: UserCredential | undefined = undefined;
  refreshes = 0;
  now = 0;
  readonly passwords = new DatabasePasswords({
    find: () => this.known,
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
    let password: Secret | 'wait' | undefined = login.password;
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
