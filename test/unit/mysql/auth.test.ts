/**
 * The authentication plugins, both sides against each other, and against `node:crypto` where that can
 * do the same. The real servers and clients are in test/integration.
 */

import { describe, expect, test } from 'bun:test';
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto';
import { Secret } from '../../../src/credential/secret.ts';
import {
  ClientAuthenticator,
  type ClientPlugin,
  newScramble,
  type Step,
} from '../../../src/engine/mysql/auth/client-authenticator.ts';
import {
  DatabaseAuthenticator,
  type DatabaseLoginStep,
} from '../../../src/engine/mysql/auth/database-authenticator.ts';
import { ed25519Answer } from '../../../src/engine/mysql/auth/ed25519.ts';
import { encryptPassword, PasswordKey } from '../../../src/engine/mysql/auth/password-key.ts';
import {
  CACHING_SHA2,
  cachingSha2Answer,
  hashesOf,
  NATIVE,
  nativeAnswer,
} from '../../../src/engine/mysql/auth/plugins.ts';

const PASSWORD = new Secret('correct horse');
const WRONG = new Secret('battery staple');
const passwordKey = new PasswordKey(newKey());
const WRONG_PASSWORD: Step = { kind: 'failed', why: 'wrong_password', hasPassword: true };

function newKey(): Secret {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return new Secret(String(privateKey.export({ type: 'pkcs8', format: 'pem' })));
}

interface Meeting {
  readonly plugin: ClientPlugin;
  /** Of the secret. */
  readonly expected?: Secret | undefined;
  /** What the other side has. */
  readonly given?: Secret;
  readonly isSecure?: boolean;
}

/** Both sides, as they would talk over a wire; what the client's side says in the end. */
function meet(meeting: Meeting): { readonly last: Step; readonly said: readonly string[] } {
  const { plugin, given = PASSWORD, isSecure = false } = meeting;
  const expected = 'expected' in meeting ? meeting.expected : PASSWORD;
  const ours = new ClientAuthenticator({ password: expected, plugin, isSecure, passwordKey });
  const theirs = new DatabaseAuthenticator({ password: given, isSecure, isEncrypted: isSecure });
  const scramble = newScramble();
  // The client begins with the other plugin, so it always has to switch.
  const first = theirs.begin(plugin === NATIVE ? CACHING_SHA2 : NATIVE, scramble);
  let step = ours.begin({ ...first, scramble });
  const said: string[] = [step.kind];
  while (step.kind === 'switch' || step.kind === 'more') {
    const next: DatabaseLoginStep =
      step.kind === 'switch' ? theirs.switchTo(step.plugin, step.data) : theirs.more(step.data);
    if (next.kind !== 'send') throw new Error(`the client says ${next.kind}`);
    step = ours.respond(next.body);
    said.push(step.kind);
  }
  return { last: step, said };
}

describe('mysql_native_password', () => {
  test('MY-03 answers as the manual says', () => {
    // SHA1("secret") XOR SHA1(scramble + SHA1(SHA1("secret"))), by another program.
    const scramble = Buffer.from('0102030405060708090a0b0c0d0e0f1011121314', 'hex');
    const answer = nativeAnswer(hashesOf(new Secret('secret')), scramble);
    expect(answer.toString('hex')).toBe('b32bb3a583e1340c0a1108d58b1be49781ad8c2f');
  });

  test('MY-03 lets the right password in, and nobody else', () => {
    expect(meet({ plugin: NATIVE }).last).toEqual({ kind: 'done', final: undefined });
    expect(meet({ plugin: NATIVE, given: WRONG }).last).toEqual(WRONG_PASSWORD);
  });

  test('MY-03 a client that does not answer, or with another length, is refused', () => {
    const scramble = newScramble();
    const options = { password: PASSWORD, plugin: NATIVE, isSecure: true, passwordKey } as const;
    const begin = (answer: Buffer) =>
      new ClientAuthenticator(options).begin({ plugin: NATIVE, answer, scramble });
    expect(begin(Buffer.alloc(0))).toMatchObject({ kind: 'failed', hasPassword: false });
    expect(begin(Buffer.alloc(19))).toMatchObject({ why: 'malformed_response' });
  });
});

describe('caching_sha2_password', () => {
  test('MY-04 answers as the manual says', () => {
    const scramble = Buffer.from('0102030405060708090a0b0c0d0e0f1011121314', 'hex');
    const answer = cachingSha2Answer(hashesOf(new Secret('secret')), scramble);
    expect(answer.toString('hex')).toBe(
      '746ebe205d56a0707acb3e796e834e0dd7b1d61743b26bd5202c7a623230c7c9',
    );
  });

  test('MY-04 the right answer is the fast path', () => {
    const { last, said } = meet({ plugin: CACHING_SHA2 });
    expect(last).toEqual({ kind: 'done', final: Buffer.of(3) });
    expect(said).toEqual(['switch', 'done']);
  });

  test('MY-04 a wrong answer is asked for the password, in clear or with our key', () => {
    for (const isSecure of [true, false]) {
      const { last, said } = meet({ plugin: CACHING_SHA2, given: WRONG, isSecure });
      expect(last).toEqual(WRONG_PASSWORD);
      expect(said).toEqual(['switch', 'more', ...(isSecure ? [] : ['more']), 'failed']);
    }
  });

  const full = (isSecure: boolean) => {
    const options = { password: PASSWORD, plugin: CACHING_SHA2, isSecure, passwordKey } as const;
    const ours = new ClientAuthenticator(options);
    const scramble = newScramble();
    const answer = Buffer.alloc(32, 1);
    expect(ours.begin({ plugin: CACHING_SHA2, answer, scramble })).toEqual({
      kind: 'more',
      data: Buffer.of(4),
    });
    return { ours, scramble };
  };

  test('MY-04 the full path with the right password lets in: in clear where nobody reads', () => {
    const { ours } = full(true);
    expect(ours.respond(Buffer.from('correct horse\0'))).toEqual({
      kind: 'done',
      final: undefined,
    });
  });

  test('MY-04 in clear where somebody may read it is refused, be it right', () => {
    const { ours } = full(false);
    expect(ours.respond(Buffer.from('correct horse\0'))).toEqual(WRONG_PASSWORD);
  });

  test('MY-04 the full path without TLS: under the key that was asked for, or that was kept', () => {
    for (const asks of [true, false]) {
      const { ours, scramble } = full(false);
      if (asks) {
        const step = ours.respond(Buffer.of(2));
        expect(step).toEqual({ kind: 'more', data: passwordKey.publicKey });
      }
      const encrypted = encryptPassword(PASSWORD, scramble, passwordKey.publicKey);
      expect(ours.respond(encrypted ?? Buffer.alloc(0))).toEqual({
        kind: 'done',
        final: undefined,
      });
    }
  });

  test('MY-04 what another key, or another scramble, has encrypted is wrong', () => {
    const other = new PasswordKey(newKey());
    for (const key of [other, passwordKey]) {
      const { ours } = full(false);
      ours.respond(Buffer.of(2));
      const encrypted = encryptPassword(PASSWORD, newScramble(), key.publicKey);
      expect(ours.respond(encrypted ?? Buffer.alloc(0))).toEqual(WRONG_PASSWORD);
    }
  });

  test('MY-04 nothing may come after the end', () => {
    const { ours } = full(true);
    ours.respond(Buffer.from('correct horse\0'));
    expect(ours.respond(Buffer.from('correct horse\0'))).toMatchObject({ kind: 'failed' });
  });

  test('MY-04 a password that was changed is the one that counts at once', () => {
    expect(meet({ plugin: CACHING_SHA2 }).last.kind).toBe('done');
    expect(meet({ plugin: CACHING_SHA2, expected: WRONG }).last).toEqual(WRONG_PASSWORD);
  });
});

describe('who is asked how', () => {
  test.each<ClientPlugin>([NATIVE, CACHING_SHA2])(
    'MY-03 a user that does not exist goes through the same packets (%s)',
    (plugin) => {
      for (const isSecure of [true, false]) {
        const wrong = meet({ plugin, given: WRONG, isSecure });
        const unknown = meet({ plugin, expected: undefined, isSecure });
        expect(unknown.said).toEqual(wrong.said);
        expect(unknown.last).toMatchObject({ why: 'unknown_user' });
      }
    },
  );

  const begin = (plugin: string, isSecure: boolean, answer = Buffer.from('correct horse\0')) =>
    new ClientAuthenticator({
      password: PASSWORD,
      plugin: CACHING_SHA2,
      isSecure,
      passwordKey,
    }).begin({ plugin, answer, scramble: newScramble() });

  test('MY-03 mysql_clear_password counts over TLS only', () => {
    expect(begin('mysql_clear_password', true)).toEqual({ kind: 'done', final: undefined });
    expect(begin('mysql_clear_password', true, Buffer.from('wrong\0'))).toEqual(WRONG_PASSWORD);
    expect(begin('mysql_clear_password', false)).toMatchObject({ kind: 'switch' });
  });

  test('MY-03 MY-05 a password of 64 KiB in clear', () => {
    const long = 'p'.repeat(65_535);
    const password = new Secret(long);
    const options = { password, plugin: NATIVE, isSecure: true, passwordKey } as const;
    const scramble = newScramble();
    for (const [text, kind] of [
      [long, 'done'],
      [`${long.slice(1)}q`, 'failed'],
    ] as const) {
      const answer = Buffer.from(`${text}\0`);
      const step = new ClientAuthenticator(options).begin({
        plugin: 'mysql_clear_password',
        answer,
        scramble,
      });
      expect(step.kind).toBe(kind);
    }
  });

  test('MY-03 a plugin that nobody knows is switched, to another scramble', () => {
    const step = begin('dialog', true);
    expect(step).toMatchObject({ kind: 'switch', plugin: CACHING_SHA2 });
    expect(step.kind === 'switch' && step.data.length).toBe(20);
  });

  test('MY-03 a client that knows no plugins is let in with the native one only', () => {
    const scramble = newScramble();
    const answer = nativeAnswer(hashesOf(PASSWORD), scramble);
    const of = (plugin: ClientPlugin) =>
      new ClientAuthenticator({ password: PASSWORD, plugin, isSecure: false, passwordKey });
    expect(of(NATIVE).beginWithoutPlugins(answer, scramble).kind).toBe('done');
    expect(of(CACHING_SHA2).beginWithoutPlugins(answer, scramble).kind).toBe('too_old');
  });

  test('scrambles have 7 bits, no NUL and no $', () => {
    const all = Buffer.concat(Array.from({ length: 500 }, newScramble));
    expect(all.every((byte) => byte > 0 && byte < 0x80 && byte !== 0x24)).toBe(true);
    expect(new Set(all).size).toBe(126);
  });
});

describe('towards a database', () => {
  const to = (isSecure = false) =>
    new DatabaseAuthenticator({ password: PASSWORD, isSecure, isEncrypted: isSecure });
  const scramble = newScramble();

  test('MY-03 ed25519 of a password of 32 bytes is what node:crypto makes of the same secret', () => {
    const secret = 'a password of exactly 32 bytes..';
    const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex');
    const der = Buffer.concat([pkcs8, Buffer.from(secret)]);
    const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
    const challenge = Buffer.alloc(32, 5);
    const answer = ed25519Answer(new Secret(secret), challenge);
    expect(answer.toString('hex')).toBe(sign(null, challenge, key).toString('hex'));
    expect(verify(null, challenge, createPublicKey(key), answer)).toBe(true);
  });

  test('MY-03 ed25519 with a scramble of another length is refused', () => {
    expect(to().switchTo('client_ed25519', scramble)).toMatchObject({ why: 'malformed_packet' });
  });

  test('MY-03 a plugin that we do not know ends the log-in, with its name', () => {
    expect(to().switchTo('auth_gssapi_client', scramble)).toEqual({
      kind: 'failed',
      why: 'unsupported_plugin',
      plugin: 'auth_gssapi_client',
    });
    expect(to(true).switchTo('mysql_clear_password', scramble)).toMatchObject({
      why: 'cleartext_refused',
    });
  });

  test('MY-03 the default plugin of the server need not be the one of the user', () => {
    const login = to().begin('auth_gssapi_client', scramble);
    expect(login).toEqual({ plugin: NATIVE, answer: Buffer.alloc(0) });
  });

  test('MY-04 the password itself goes out over TLS only, else under the key of the server', () => {
    const clear = to(true);
    clear.begin(CACHING_SHA2, scramble);
    expect(clear.more(Buffer.of(4))).toEqual({
      kind: 'send',
      body: Buffer.from('correct horse\0'),
    });
    const encrypted = to(false);
    encrypted.begin(CACHING_SHA2, scramble);
    expect(encrypted.more(Buffer.of(4))).toEqual({ kind: 'send', body: Buffer.of(2) });
    const step = encrypted.more(passwordKey.publicKey);
    const body = step.kind === 'send' ? step.body : Buffer.alloc(0);
    expect(String(passwordKey.decrypt(body, scramble))).toBe('correct horse\0');
  });

  test('MY-04 the fast path needs nothing more; out of order nothing is said', () => {
    const fast = to();
    fast.begin(CACHING_SHA2, scramble);
    expect(fast.more(Buffer.of(3))).toEqual({ kind: 'wait' });
    expect(fast.more(Buffer.of(4))).toMatchObject({ why: 'malformed_packet' });
    const native = to(true);
    native.begin(NATIVE, scramble);
    expect(native.more(Buffer.of(4))).toMatchObject({ why: 'malformed_packet' });
  });

  test('MY-04 a key that is none, or too short for the password, is said to be', () => {
    const asked = (password: Secret, pem: Uint8Array) => {
      const ours = new DatabaseAuthenticator({ password, isSecure: false, isEncrypted: false });
      ours.switchTo('sha256_password', scramble);
      return ours.more(pem);
    };
    expect(asked(PASSWORD, Buffer.from('no key'))).toMatchObject({ why: 'unusable_key' });
    const long = new Secret('p'.repeat(300));
    expect(asked(long, passwordKey.publicKey)).toMatchObject({ why: 'unusable_key' });
    expect(asked(PASSWORD, passwordKey.publicKey)).toMatchObject({ kind: 'send' });
  });

  test('MY-04 sha256_password takes a Unix socket for something that may be read', () => {
    const channel = { isSecure: true, isEncrypted: false };
    const ours = new DatabaseAuthenticator({ password: PASSWORD, ...channel });
    const asked = { kind: 'send', body: Buffer.of(1) };
    expect(ours.switchTo('sha256_password', scramble)).toEqual(asked as DatabaseLoginStep);
    const encrypted = { isSecure: true, isEncrypted: true };
    const clear = new DatabaseAuthenticator({ password: PASSWORD, ...encrypted });
    expect(clear.switchTo('sha256_password', scramble)).toEqual({
      kind: 'send',
      body: Buffer.from('correct horse\0'),
    });
  });

  test('an empty password is an empty answer', () => {
    const ours = new DatabaseAuthenticator({
      password: new Secret(''),
      isSecure: false,
      isEncrypted: false,
    });
    expect(ours.begin(NATIVE, scramble).answer.length).toBe(0);
    expect(ours.begin(CACHING_SHA2, scramble).answer.length).toBe(0);
  });
});
