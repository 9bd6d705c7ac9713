import { describe, expect, test } from 'bun:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { Secret } from '../../../src/credential/secret.ts';
import {
  ClientAuthenticator,
  type Step,
} from '../../../src/engine/postgres/auth/client-authenticator.ts';
import { DatabaseAuthenticator } from '../../../src/engine/postgres/auth/database-authenticator.ts';
import { ScramVerifiers } from '../../../src/engine/postgres/auth/scram-verifiers.ts';
import { bytes, clientFor, text } from './fixtures.ts';

const verifiers = new ScramVerifiers();
const PASSWORD = 'p\u00e4ssword';
const METHODS = ['POSTGRES_SCRAM_SHA_256', 'POSTGRES_MD5'] as const;
type Method = (typeof METHODS)[number];
const MALFORMED: Step = { kind: 'failed', why: 'malformed_response' };

function authenticator(method: Method, password: string | undefined = PASSWORD, user = 'app') {
  const credential = { password: new Secret(password), others: [] };
  return new ClientAuthenticator({ user, credential, method, verifiers });
}

function mockAuthenticator(method: Method, user = 'nobody') {
  return new ClientAuthenticator({ user, credential: undefined, method, verifiers });
}

/** Lets `DatabaseAuthenticator` be the client, and writes down what it was sent. */
async function logIn(client: ClientAuthenticator, password: string, user = 'app') {
  const other = new DatabaseAuthenticator({ user, password: new Secret(password) });
  const sent: Uint8Array[] = [client.begin()];
  for (;;) {
    const answer = await other.receive(sent.at(-1) ?? new Uint8Array());
    if (answer.kind !== 'send') throw new Error(`the client gave up: ${inspect(answer)}`);
    const step = await client.respond(answer.body);
    if (step.kind === 'done' && step.final !== undefined) {
      expect(await other.receive(step.final)).toEqual({ kind: 'wait' });
    }
    if (step.kind === 'done') expect(await other.receive(Buffer.alloc(4))).toEqual({ kind: 'ok' });
    if (step.kind !== 'continue') return { step, sent };
    sent.push(step.body);
  }
}

describe.each(METHODS)('%s', (method) => {
  test('the right password', async () => {
    expect((await logIn(authenticator(method), PASSWORD)).step.kind).toBe('done');
  });

  test('PG-12: wrong password and unknown user end alike', async () => {
    const wrong = await logIn(authenticator(method), `${PASSWORD}!`);
    const unknown = await logIn(mockAuthenticator(method), PASSWORD);
    expect(wrong.step).toEqual({ kind: 'failed', why: 'wrong_password' });
    expect(unknown.step).toEqual({ kind: 'failed', why: 'unknown_user' });
    expect(unknown.sent.map((body) => body.length)).toEqual(wrong.sent.map((body) => body.length));
  });

  test('an empty password lets nobody in', async () => {
    const { step } = await logIn(authenticator(method, ''), '');
    expect(step).toEqual({ kind: 'failed', why: 'wrong_password' });
  });

  test('PG-13: 64 KiB', async () => {
    const password = 'x'.repeat(65_536);
    expect((await logIn(authenticator(method, password), password)).step.kind).toBe('done');
  });

  test('PG-13: a body beyond the limit is not looked at', async () => {
    const client = authenticator(method);
    client.begin();
    expect(await client.respond(Buffer.alloc(client.responseBytesMax + 1, 65))).toEqual(MALFORMED);
    expect((await logIn(client, PASSWORD)).step).toEqual(MALFORMED);
  });

  test('nothing comes after the end', async () => {
    const client = authenticator(method);
    client.begin();
    await client.respond(new Uint8Array());
    expect((await logIn(client, PASSWORD)).step).toEqual(MALFORMED);
  });

  test('any bytes fail and never throw', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array(), { minLength: 1, maxLength: 3 }),
        async (bodies) => {
          for (const client of [authenticator(method), mockAuthenticator(method)]) {
            client.begin();
            for (const body of bodies) expect((await client.respond(body)).kind).toBe('failed');
          }
        },
      ),
    );
  });

  test('shows no password', () => {
    const client = authenticator(method, 'hunter2');
    const shown = [inspect(client, { showHidden: true, depth: 9 }), Bun.inspect(client)];
    expect(`${shown.join()}${JSON.stringify(client)}`).not.toContain('hunter2');
  });
});

describe('SCRAM', () => {
  const method = 'POSTGRES_SCRAM_SHA_256';
  const firstBody = (mechanism: string, message: Uint8Array, length = message.length) => {
    const header = Buffer.alloc(4);
    header.writeInt32BE(length);
    return Buffer.concat([bytes(`${mechanism}\0`), header, message]);
  };
  const CLIENT_FIRST = bytes('n,,n=,r=abc');

  test('asks for SCRAM-SHA-256', () => {
    expect(text(authenticator(method).begin())).toBe('\0\0\0\x0aSCRAM-SHA-256\0\0');
  });

  test('offers PLUS first when the channel is known', () => {
    const credential = undefined;
    const serverEndPoint = Buffer.alloc(32);
    const client = new ClientAuthenticator({ user: 'app', credential, method, serverEndPoint });
    expect(text(client.begin())).toBe('\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0');
  });

  test('PG-12: a mock cannot be told by its first answer', async () => {
    const salts: string[] = [];
    for (const client of [
      mockAuthenticator(method, 'ghost'),
      mockAuthenticator(method, 'ghost'),
      authenticator(method, PASSWORD, 'ghost'),
    ]) {
      client.begin();
      const step = await client.respond(firstBody('SCRAM-SHA-256', CLIENT_FIRST));
      if (step.kind !== 'continue') throw new Error(step.kind);
      const shape = /^r=abc[A-Za-z0-9+/]{24},s=([A-Za-z0-9+/]{22}==),i=4096$/;
      salts.push(shape.exec(text(step.body.subarray(4)))?.[1] ?? 'no match');
    }
    expect(salts[0]).not.toBe('no match');
    expect(new Set(salts).size).toBe(1);
  });

  test('client-first may come by itself', async () => {
    const client = authenticator(method);
    client.begin();
    const empty = await client.respond(firstBody('SCRAM-SHA-256', Buffer.alloc(0), -1));
    expect(empty).toEqual({ kind: 'continue', body: Buffer.from([0, 0, 0, 11]) });
    expect((await client.respond(CLIENT_FIRST)).kind).toBe('continue');
  });

  test.each([
    ['a mechanism that was not offered', firstBody('SCRAM-SHA-256-PLUS', CLIENT_FIRST)],
    ['an unknown mechanism', firstBody('SCRAM-SHA-1', CLIENT_FIRST)],
    ['no mechanism', firstBody('', CLIENT_FIRST)],
    ['a length that is too short', firstBody('SCRAM-SHA-256', CLIENT_FIRST, 3)],
    ['a length that is too long', firstBody('SCRAM-SHA-256', CLIENT_FIRST, 99)],
    ['a negative length', firstBody('SCRAM-SHA-256', CLIENT_FIRST, -2)],
    ['-1 and a message', firstBody('SCRAM-SHA-256', CLIENT_FIRST, -1)],
    ['no end of the name', bytes('SCRAM-SHA-256')],
    ['no length', bytes('SCRAM-SHA-256\0')],
    ['a plain password', bytes(`${PASSWORD}\0`)],
  ])('refuses %s', async (_, body) => {
    const client = authenticator(method);
    client.begin();
    expect(await client.respond(body)).toEqual(MALFORMED);
  });

  test('a second message before the first was answered fails both', async () => {
    const client = authenticator(method, 'never seen before');
    client.begin();
    const steps = [
      client.respond(firstBody('SCRAM-SHA-256', CLIENT_FIRST)),
      client.respond(bytes('c=biws')),
    ];
    expect(steps[0]).toBeInstanceOf(Promise);
    expect(await Promise.all(steps)).toEqual([MALFORMED, MALFORMED]);
  });

  test('keeps nothing of the bytes that it was given', async () => {
    const password = 'also never seen';
    const client = authenticator(method, password);
    client.begin();
    const scram = clientFor(password);
    const body = firstBody('SCRAM-SHA-256', scram.first());
    const pending = client.respond(body);
    body.fill(0);
    const step = await pending;
    if (step.kind !== 'continue') throw new Error(step.kind);
    const final = await scram.continue(step.body.subarray(4));
    if (final.kind !== 'message') throw new Error(final.why);
    expect((await client.respond(final.message)).kind).toBe('done');
  });
});

describe('MD5', () => {
  const method = 'POSTGRES_MD5';

  test('asks with four bytes of salt, different every time', () => {
    const bodies = Array.from({ length: 4 }, () => authenticator(method).begin());
    expect(bodies.every((body) => text(body).startsWith('\0\0\0\x05'))).toBe(true);
    expect(bodies.every((body) => body.length === 8)).toBe(true);
    expect(new Set(bodies.map(text)).size).toBe(4);
  });

  test.each([
    ['an empty body', new Uint8Array()],
    ['no zero byte', bytes(`md5${'0'.repeat(32)}`)],
    ['two strings', bytes(`md5${'0'.repeat(32)}\0\0`)],
  ])('refuses %s', async (_, body) => {
    const client = authenticator(method);
    client.begin();
    expect(await client.respond(body)).toEqual(MALFORMED);
  });

  test.each([
    ['the password itself', `${PASSWORD}\0`],
    ['nothing', '\0'],
    ['another hash', `md5${'0'.repeat(32)}\0`],
  ])('%s is a wrong password', async (_, body) => {
    const client = authenticator(method);
    client.begin();
    expect(await client.respond(bytes(body))).toEqual({ kind: 'failed', why: 'wrong_password' });
  });
});
