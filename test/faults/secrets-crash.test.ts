/** Secrets after a crash, and with a key that is not theirs. */

import { expect, setDefaultTimeout, test } from 'bun:test';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  CreateSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  type SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { Berth } from '../harness/berth.ts';
import { eventually } from '../harness/polling.ts';
import { usePostgres } from '../harness/postgres.ts';
import { secretsClient } from '../harness/secrets-manager.ts';

setDefaultTimeout(90_000);

const database = usePostgres();
const Api = { Listen: '127.0.0.1:0', AllowAnonymous: true };
const ROUNDS = 4;

function options(StateDirectory: string, Keys?: string) {
  const SecretStore = Keys === undefined ? {} : { SecretStore: { Keys } };
  return { database: database(), file: { StateDirectory, Api, ...SecretStore } };
}

async function inFolder(body: (folder: string) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-secrets-'));
  await body(folder);
  rmSync(folder, { recursive: true });
}

const newKey = () => randomBytes(32).toString('base64');

async function valueIn(client: SecretsManagerClient, SecretId: string) {
  return (await client.send(new GetSecretValueCommand({ SecretId }))).SecretString;
}

test('what was acknowledged is there after a kill, whatever was being written', async () => {
  await inFolder(async (folder) => {
    const acknowledged = new Map<string, string>();
    const asked = new Map<string, string>();
    const write = async (client: SecretsManagerClient, Name: string) => {
      for (let value = 0; ; value++) {
        const SecretString = `${Name} ${value}`;
        asked.set(Name, SecretString);
        if (value === 0) await client.send(new CreateSecretCommand({ Name, SecretString }));
        else await client.send(new PutSecretValueCommand({ SecretId: Name, SecretString }));
        acknowledged.set(Name, SecretString);
      }
    };
    for (let round = 0; round < ROUNDS; round++) {
      const berth = await Berth.start(options(folder));
      const client = secretsClient(berth);
      const names = [0, 1, 2].map((writer) => `r${round}w${writer}`);
      const writers = names.map((name) => write(client, name).catch(() => undefined));
      const enough = 3 + Math.floor(Math.random() * 40);
      const last = () => Number(acknowledged.get(`r${round}w0`)?.split(' ')[1] ?? -1);
      await eventually(() => (last() >= enough ? true : undefined), 'some changes');
      await berth.kill();
      await Promise.all(writers);
      await using next = await Berth.start(options(folder));
      for (const [name, value] of acknowledged) {
        const found = await valueIn(secretsClient(next), name);
        expect([value, asked.get(name)]).toContain(found);
        acknowledged.set(name, found ?? '');
      }
    }
    expect(acknowledged.size).toBeGreaterThanOrEqual(ROUNDS);
  });
});

test('a key that does not open the secrets keeps it from starting, and a new one takes over', async () => {
  await inFolder(async (folder) => {
    const [old, young] = [newKey(), newKey()];
    const first = await Berth.start(options(folder, old));
    const create = new CreateSecretCommand({ Name: 'kept', SecretString: 'value' });
    await secretsClient(first).send(create);
    await first.stop();
    for (const keys of [undefined, newKey()]) {
      const wrong = Berth.launch(options(folder, keys));
      expect(await wrong.ended).toEqual({ code: 1, signal: null });
      expect(wrong.logText).toMatch(
        /The secret kept cannot be opened: it is encrypted with the key [0-9a-f]{12}, which is not given/,
      );
      await wrong.kill();
    }
    const both = await Berth.start(options(folder, `${young} ${old}`));
    expect(await valueIn(secretsClient(both), 'kept')).toBe('value');
    await both.stop();
    await using last = await Berth.start({
      ...options(folder, young),
      expect: ['configuration.refused'],
    });
    expect(await valueIn(secretsClient(last), 'kept')).toBe('value');
    // A reload with a key that is of no use changes nothing.
    const { configuration } = last;
    last.writeFile('berth.yaml', JSON.stringify({ ...configuration, SecretStore: { Keys: old } }));
    last.signal('SIGHUP');
    const [line] = await last.untilLogged('configuration.refused');
    expect(line?.msg).toContain('The secret kept cannot be opened');
    expect(await valueIn(secretsClient(last), 'kept')).toBe('value');
  });
});
