import { describe, expect, test } from 'bun:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { Secret } from '../../../src/credential/secret.ts';
import {
  authentication,
  authenticationSasl,
  readSaslInitialResponse,
} from '../../../src/engine/postgres/auth/authentication-message.ts';
import {
  AUTHENTICATION_BYTES_MAX,
  DatabaseAuthenticator,
  type DatabaseAuthenticatorOptions,
  type DatabaseLoginStep,
} from '../../../src/engine/postgres/auth/database-authenticator.ts';
import { ScramKeyCache } from '../../../src/engine/postgres/auth/scram-key-cache.ts';
import {
  SCRAM_SHA_256,
  SCRAM_SHA_256_PLUS,
} from '../../../src/engine/postgres/auth/scram-message.ts';
import { ScramServer } from '../../../src/engine/postgres/auth/scram-server.ts';
import { bytes, messageOf, quickVerifier, text } from './fixtures.ts';

const OK = authentication(0);
const CLEARTEXT = authentication(3);
const MD5 = authentication(5, Buffer.from([1, 2, 3, 4]));
const SASL = authenticationSasl([SCRAM_SHA_256]);

function login(options: Partial<DatabaseAuthenticatorOptions> = {}): DatabaseAuthenticator {
  return new DatabaseAuthenticator({ user: 'app', password: new Secret('hunter2'), ...options });
}

function bodyOf(step: DatabaseLoginStep): Uint8Array {
  if (step.kind === 'send') return step.body;
  throw new Error(`nothing to send: ${inspect(step)}`);
}

const failed = (why: string) => ({ kind: 'failed', why }) as DatabaseLoginStep;

/** A database that keeps the verifier of `password`. */
async function databaseWith(password: string, serverEndPoint?: Uint8Array) {
  const verifier = await quickVerifier(password);
  const mechanism = serverEndPoint === undefined ? SCRAM_SHA_256 : SCRAM_SHA_256_PLUS;
  const server = new ScramServer({ verifier, mechanism, serverEndPoint });
  return {
    first(body: Uint8Array): Uint8Array {
      const initial = readSaslInitialResponse(body);
      expect(initial?.mechanism).toBe(mechanism);
      return authentication(11, messageOf(server.start(initial?.response ?? new Uint8Array())));
    },
    final(body: Uint8Array): Uint8Array {
      return authentication(12, messageOf(server.finish(body)));
    },
  };
}

test('trust', async () => {
  expect(await login().receive(OK)).toEqual({ kind: 'ok' });
});

describe('cleartext', () => {
  test.each(['hunter2', 'p\u00e4ss', 'x'.repeat(65_536)])(
    'sends the password',
    async (password) => {
      const database = login({ password: new Secret(password) });
      expect(bodyOf(await database.receive(CLEARTEXT))).toEqual(bytes(`${password}\0`));
      expect(await database.receive(OK)).toEqual({ kind: 'ok' });
    },
  );

  test('only when it may', async () => {
    const database = login({ allowCleartext: false });
    expect(await database.receive(CLEARTEXT)).toEqual(failed('cleartext_refused'));
    expect(await database.receive(OK)).toEqual(failed('malformed_message'));
  });
});

test('MD5', async () => {
  const database = login();
  expect(text(bodyOf(await database.receive(MD5)))).toMatch(/^md5[0-9a-f]{32}\0$/);
  expect(await database.receive(OK)).toEqual({ kind: 'ok' });
});

describe('SCRAM', () => {
  test.each([
    [[SCRAM_SHA_256]],
    [['SCRAM-SHA-256-PLUS', SCRAM_SHA_256]],
    [[SCRAM_SHA_256, 'SCRAM-SHA-256-PLUS']],
    [['OAUTHBEARER', 'SCRAM-SHA-512', SCRAM_SHA_256, 'X']],
  ])('PG-11: chooses SCRAM-SHA-256 from %j', async (mechanisms) => {
    const login_ = login();
    const database = await databaseWith('hunter2');
    const first = bodyOf(await login_.receive(authenticationSasl(mechanisms)));
    const clientFirst = readSaslInitialResponse(first)?.response ?? new Uint8Array();
    expect(text(clientFirst)).toMatch(/^n,,n=,r=[A-Za-z0-9+/]{24}$/);
    const final = bodyOf(await login_.receive(database.first(first)));
    expect(await login_.receive(database.final(final))).toEqual({ kind: 'wait' });
    expect(await login_.receive(OK)).toEqual({ kind: 'ok' });
  });

  test.each([
    [[SCRAM_SHA_256_PLUS, SCRAM_SHA_256]],
    [[SCRAM_SHA_256, SCRAM_SHA_256_PLUS]],
    [[SCRAM_SHA_256_PLUS]],
  ])('PG-11: binds to the channel when %j is on offer over TLS', async (mechanisms) => {
    const login_ = login({ serverEndPoint: bytes('the hash') });
    const database = await databaseWith('hunter2', bytes('the hash'));
    const first = bodyOf(await login_.receive(authenticationSasl(mechanisms)));
    const final = bodyOf(await login_.receive(database.first(first)));
    expect(await login_.receive(database.final(final))).toEqual({ kind: 'wait' });
  });

  test('PG-11: tells a database over TLS that it could have bound', async () => {
    const login_ = login({ serverEndPoint: bytes('the hash') });
    const first = bodyOf(await login_.receive(authenticationSasl([SCRAM_SHA_256])));
    const clientFirst = readSaslInitialResponse(first)?.response ?? new Uint8Array();
    expect(text(clientFirst)).toStartWith('y,,');
  });

  test.each([
    ['only PLUS', authenticationSasl(['SCRAM-SHA-256-PLUS']), 'unsupported_mechanism'],
    [
      'a name that only begins alike',
      authenticationSasl(['SCRAM-SHA-2566']),
      'unsupported_mechanism',
    ],
    ['an empty list', authentication(10, bytes('\0')), 'malformed_message'],
    ['no list', authentication(10), 'malformed_message'],
    ['a list without an end', authentication(10, bytes('SCRAM-SHA-256\0')), 'malformed_message'],
    ['a list with a gap', authentication(10, bytes('A\0\0B\0\0')), 'malformed_message'],
  ])('PG-11: refuses %s', async (_, body, why) => {
    expect(await login().receive(body)).toEqual(failed(why));
  });

  test('Ok counts only after the database has proved itself', async () => {
    const afterFirst = login();
    await afterFirst.receive(SASL);
    expect(await afterFirst.receive(OK)).toEqual(failed('database_not_verified'));

    const afterFinal = login();
    const database = await databaseWith('hunter2');
    await afterFinal.receive(database.first(bodyOf(await afterFinal.receive(SASL))));
    expect(await afterFinal.receive(OK)).toEqual(failed('database_not_verified'));
  });

  test('a database that does not know the password is found out', async () => {
    const proxy = login();
    const database = await databaseWith('something else');
    await proxy.receive(database.first(bodyOf(await proxy.receive(SASL))));
    const forged = authentication(12, bytes(`v=${Buffer.alloc(32).toString('base64')}`));
    expect(await proxy.receive(forged)).toEqual(failed('database_not_verified'));
    expect(await proxy.receive(OK)).toEqual(failed('malformed_message'));
  });

  test.each([
    ['cleartext', CLEARTEXT],
    ['MD5', MD5],
    ['SASL again', SASL],
    ['the end', authentication(12, bytes('v='))],
  ])('does not go over to %s', async (_, body) => {
    const proxy = login();
    await proxy.receive(SASL);
    expect(await proxy.receive(body)).toEqual(failed('malformed_message'));
    expect(await proxy.receive(OK)).toEqual(failed('malformed_message'));
  });

  test('a message while keys are derived fails the login', async () => {
    const proxy = login({ keys: new ScramKeyCache() });
    const database = await databaseWith('hunter2');
    const first = database.first(bodyOf(await proxy.receive(SASL)));
    const pending = proxy.receive(first);
    expect(await proxy.receive(OK)).toEqual(failed('database_not_verified'));
    expect(await pending).toEqual(failed('malformed_message'));
  });

  test('PG-16: the second connection derives nothing', async () => {
    const keys = new ScramKeyCache();
    for (const _ of [1, 2]) {
      const proxy = login({ keys });
      const database = await databaseWith('hunter2');
      const final = await proxy.receive(database.first(bodyOf(await proxy.receive(SASL))));
      expect(await proxy.receive(database.final(bodyOf(final)))).toEqual({ kind: 'wait' });
    }
    expect(keys.size).toBe(1);
  });
});

describe('what is not supported or not a message', () => {
  test.each([
    ['Kerberos', authentication(2)],
    ['GSSAPI', authentication(7)],
    ['GSSAPI continued', authentication(8, bytes('x'))],
    ['SSPI', authentication(9)],
    ['an unknown code', authentication(99)],
    ['a negative code', authentication(-1)],
  ])('%s', async (_, body) => {
    expect(await login().receive(body)).toEqual(failed('unsupported_method'));
  });

  test.each([
    ['empty', new Uint8Array()],
    ['half a code', new Uint8Array(3)],
    ['Ok with data', authentication(0, bytes('x'))],
    ['cleartext with data', authentication(3, bytes('x'))],
    ['MD5 with three bytes of salt', authentication(5, new Uint8Array(3))],
    ['MD5 with five bytes of salt', authentication(5, new Uint8Array(5))],
    ['SASLContinue out of nowhere', authentication(11, bytes('r='))],
    ['SASLFinal out of nowhere', authentication(12, bytes('v='))],
    ['too long', authentication(10, Buffer.alloc(AUTHENTICATION_BYTES_MAX, 65))],
  ])('%s', async (_, body) => {
    expect(await login().receive(body)).toEqual(failed('malformed_message'));
  });

  test.each([CLEARTEXT, MD5])('a second request after the password', async (body) => {
    const database = login();
    await database.receive(CLEARTEXT);
    expect(await database.receive(body)).toEqual(failed('malformed_message'));
  });

  test('any bytes: never a throw, and the password only where it belongs', async () => {
    const codes = fc.constantFrom(1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(codes, fc.uint8Array())), async (messages) => {
        const database = login();
        for (const [code, data] of messages) {
          const step = await database.receive(authentication(code, data));
          expect(step.kind).not.toBe('ok');
          expect(inspect(step)).not.toContain('hunter2');
        }
      }),
    );
  });
});

test('shows no password', () => {
  const database = login();
  const shown = [inspect(database, { showHidden: true, depth: 9 }), JSON.stringify(database)];
  expect(shown.join()).not.toContain('hunter2');
});
