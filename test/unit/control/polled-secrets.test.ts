/** Secrets of others: when they are read, and what holds while they cannot be. */

import { expect, test } from 'bun:test';
import { PolledSecrets, REFRESH_PAUSE_MS } from '../../../src/control/secrets/polled-secrets.ts';
import { Secret } from '../../../src/credential/secret.ts';

const HOUR_MS = 3_600_000;

/** A source that says what the test lets it say. */
class Fixture {
  password = 'first';
  error: Error | undefined = undefined;
  reads = 0;
  changes = 0;
  now = 1_000_000;
  readonly told: string[] = [];
  readonly secrets = new PolledSecrets({
    observer: { emit: (event) => this.told.push(event.event) },
    changed: () => this.changes++,
    now: () => this.now,
  });

  follow(key = 'a'): Promise<void> {
    const read = async () => {
      this.reads++;
      if (this.error !== undefined) throw this.error;
      return { current: { username: 'app', password: new Secret(this.password) } };
    };
    return this.secrets.follow(new Map([['app', { key, intervalMs: HOUR_MS, read }]]));
  }

  get current(): string | undefined {
    return this.secrets.find('app')?.current.password.reveal();
  }
}

test('a secret is there once it has been read, and nobody is told twice of the same', async () => {
  const fixture = new Fixture();
  await fixture.follow();
  expect([fixture.current, fixture.reads, fixture.changes]).toEqual(['first', 1, 1]);
  await fixture.follow();
  fixture.now += REFRESH_PAUSE_MS;
  await fixture.secrets.refresh('app');
  expect([fixture.reads, fixture.changes]).toEqual([2, 1]);
  fixture.secrets.stop();
});

test('a changed secret remembers what it was, and since when it is not', async () => {
  const fixture = new Fixture();
  await fixture.follow();
  fixture.password = 'second';
  fixture.now += REFRESH_PAUSE_MS;
  await fixture.secrets.refresh('app');
  const found = fixture.secrets.find('app');
  expect(found?.previous?.password.reveal()).toBe('first');
  expect(found?.currentSince).toBe(fixture.now);
  expect([fixture.current, fixture.changes]).toEqual(['second', 2]);
  fixture.secrets.stop();
});

test('whoever asks, it is not read more often than it may be', async () => {
  const fixture = new Fixture();
  await fixture.follow();
  fixture.now += REFRESH_PAUSE_MS - 1;
  await fixture.secrets.refresh('app');
  expect(fixture.reads).toBe(1);
  fixture.now += 1;
  await Promise.all([fixture.secrets.refresh('app'), fixture.secrets.refresh('app')]);
  expect(fixture.reads).toBe(2);
  await fixture.secrets.refresh('nobody');
  fixture.secrets.stop();
});

test('what cannot be read changes nothing, and is told once', async () => {
  const fixture = new Fixture();
  await fixture.follow();
  fixture.error = new Error('away');
  for (let times = 0; times < 3; times++) {
    fixture.now += REFRESH_PAUSE_MS;
    await fixture.secrets.refresh('app');
  }
  expect([fixture.current, fixture.told]).toEqual(['first', ['secret.unreadable']]);
  fixture.error = undefined;
  fixture.now += REFRESH_PAUSE_MS;
  await fixture.secrets.refresh('app');
  fixture.error = new Error('away again');
  fixture.now += REFRESH_PAUSE_MS;
  await fixture.secrets.refresh('app');
  expect(fixture.told).toHaveLength(2);
  fixture.secrets.stop();
});

test('another place is read anew, and what is not followed any more is forgotten', async () => {
  const fixture = new Fixture();
  await fixture.follow('a');
  await fixture.follow('b');
  expect(fixture.reads).toBe(2);
  await fixture.secrets.follow(new Map());
  expect(fixture.current).toBeUndefined();
});
