/** IAM tokens as AWS's own signer makes them, and everything that can be wrong with one. */

import { describe, expect, test } from 'bun:test';
import { Signer } from '@aws-sdk/rds-signer';
import fc from 'fast-check';
import type { PolicyStatement } from '../../../src/credential/policy.ts';
import { type AccessKey, Principals } from '../../../src/credential/principals.ts';
import { RateLimiter } from '../../../src/credential/rate-limit.ts';
import { Secret } from '../../../src/credential/secret.ts';
import { TokenJudge, type TokenLogin } from '../../../src/credential/token-judge.ts';

const REGION = 'us-east-1';
const HOST = 'orders.proxy-0123456789ab.us-east-1.berth.internal';
const PORT = 5432;
const MINUTE = 60_000;
const RESOURCE = 'arn:aws:rds-db:us-east-1:123456789012:dbuser:prx-1/';

const ALLOWED: PolicyStatement = {
  Effect: 'Allow',
  Action: ['rds-db:connect'],
  Resource: [`${RESOURCE}*`],
};

function key(accessKeyId: string, more: Partial<AccessKey> = {}): AccessKey {
  return {
    accessKeyId,
    secretAccessKey: new Secret(`of ${accessKeyId}`),
    sessionToken: undefined,
    expiresAt: undefined,
    arn: `arn:aws:iam::123456789012:user/${accessKeyId}`,
    statements: [ALLOWED],
    ...more,
  };
}

const SESSION_TOKEN = 'a/session+token=='.repeat(80);
const PRINCIPALS = new Principals([
  key('AKIAAPP'),
  key('AKIAOTHER'),
  key('AKIANOBODY', { statements: [] }),
  key('AKIADENIED', {
    statements: [ALLOWED, { Effect: 'Deny', Action: ['*'], Resource: [`${RESOURCE}app`] }],
  }),
  key('AKIAPARTLY', { statements: [{ ...ALLOWED, Resource: [`${RESOURCE}report?`] }] }),
  key('ASIASESSION', {
    sessionToken: new Secret(SESSION_TOKEN),
    expiresAt: Date.now() + 60 * MINUTE,
  }),
  key('ASIAOVER', { sessionToken: new Secret(SESSION_TOKEN), expiresAt: Date.now() - 1 }),
]);

interface Made {
  readonly accessKeyId?: string;
  readonly secretAccessKey?: string;
  readonly sessionToken?: string;
  readonly hostname?: string;
  readonly port?: number;
  readonly username?: string;
  readonly region?: string;
}

function make({ accessKeyId = 'AKIAAPP', ...made }: Made = {}): Promise<string> {
  const { secretAccessKey = `of ${accessKeyId}`, sessionToken } = made;
  const session = sessionToken === undefined ? {} : { sessionToken };
  return new Signer({
    hostname: made.hostname ?? HOST,
    port: made.port ?? PORT,
    username: made.username ?? 'app',
    region: made.region ?? REGION,
    credentials: { accessKeyId, secretAccessKey, ...session },
  }).getAuthToken();
}

interface Asked extends Partial<TokenLogin> {
  readonly laterMs?: number;
}

function judge(token: string, { laterMs = 0, ...login }: Asked = {}): string {
  const verdict = new TokenJudge({
    principals: PRINCIPALS,
    limiter: new RateLimiter({ perSource: 1, overall: 1 }),
    region: REGION,
    resourceOf: (user) => RESOURCE + user,
    hostsOf: (endpoint) => (endpoint === 'default' ? [HOST, 'localhost'] : []),
    now: () => Date.now() + laterMs,
  }).judge({
    user: 'app',
    token,
    endpoint: 'default',
    source: '127.0.0.1',
    local: { host: '127.0.0.1', port: PORT },
    ...login,
  });
  return verdict.isOk ? `ok ${verdict.arn}` : verdict.why;
}

const OK = 'ok arn:aws:iam::123456789012:user/AKIAAPP';

describe('a token', () => {
  test('that is right is taken, again and again', async () => {
    const token = await make();
    expect([judge(token), judge(token)]).toEqual([OK, OK]);
  });

  test.each<[string, Made, Asked, string]>([
    ['by the address that was connected to', { hostname: '127.0.0.1' }, {}, OK],
    ['by another name of the endpoint', { hostname: 'localhost' }, {}, OK],
    ['by a name in capitals', { hostname: HOST.toUpperCase() }, {}, OK],
    ['by an IPv6 address', { hostname: '[::1]' }, { local: { host: '::1', port: PORT } }, OK],
    [
      'by an IPv4 address, on a socket of IPv6',
      { hostname: '127.0.0.1' },
      { local: { host: '::ffff:127.0.0.1', port: PORT } },
      OK,
    ],
    [
      'of a user with other letters',
      { username: 'zoë & co/+=%*()' },
      { user: 'zoë & co/+=%*()' },
      OK,
    ],
    ['at its last moment', {}, { laterMs: 14 * MINUTE + 58_000 }, OK],
    ['from a clock that is ahead', {}, { laterMs: -4 * MINUTE }, OK],
    [
      'of a session',
      { accessKeyId: 'ASIASESSION', sessionToken: SESSION_TOKEN },
      {},
      'ok arn:aws:iam::123456789012:user/ASIASESSION',
    ],
    [
      'of a user that a pattern allows',
      { accessKeyId: 'AKIAPARTLY', username: 'reports' },
      { user: 'reports' },
      'ok arn:aws:iam::123456789012:user/AKIAPARTLY',
    ],
    ['of nobody that is known', { accessKeyId: 'AKIAGONE' }, {}, 'unknown_key'],
    ['with another secret', { secretAccessKey: 'other' }, {}, 'wrong_signature'],
    ['that has expired', {}, { laterMs: 15 * MINUTE }, 'expired'],
    ['from the future', {}, { laterMs: -6 * MINUTE }, 'not_yet_valid'],
    ['for another region', { region: 'eu-west-1' }, {}, 'wrong_region'],
    ['for another host', { hostname: 'other.example' }, {}, 'wrong_host'],
    ['for another endpoint', {}, { endpoint: 'reports' }, 'wrong_host'],
    ['for another port', { port: 5433 }, {}, 'wrong_port'],
    ['for another user', { username: 'admin' }, {}, 'wrong_user'],
    ['for a user with another case', { username: 'App' }, {}, 'wrong_user'],
    ['that no policy allows', { accessKeyId: 'AKIANOBODY' }, {}, 'not_allowed'],
    ['that a policy denies', { accessKeyId: 'AKIADENIED' }, {}, 'not_allowed'],
    ['of a user that no pattern allows', { accessKeyId: 'AKIAPARTLY' }, {}, 'not_allowed'],
    ['of a session, without its token', { accessKeyId: 'ASIASESSION' }, {}, 'wrong_session_token'],
    [
      'of a session, with another token',
      { accessKeyId: 'ASIASESSION', sessionToken: 'other' },
      {},
      'wrong_session_token',
    ],
    ['with a session token, of a user', { sessionToken: 'other' }, {}, 'wrong_session_token'],
    [
      'of a session that is over',
      { accessKeyId: 'ASIAOVER', sessionToken: SESSION_TOKEN },
      {},
      'session_expired',
    ],
  ])('%s', async (_name, made, asked, expected) => {
    expect(judge(await make(made), asked)).toBe(expected);
  });

  test.each<[string, RegExp, string, string]>([
    ['its host', /^[^:]+/, 'localhost', 'wrong_signature'],
    ['its port', /:5432/, ':5433', 'wrong_signature'],
    ['its user', /DBUser=app/, 'DBUser=admin', 'wrong_signature'],
    ['its action', /Action=connect/, 'Action=other', 'no_token'],
    ['its algorithm', /AWS4-HMAC-SHA256/, 'AWS4-HMAC-SHA1', 'no_token'],
    ['its key', /AKIAAPP/, 'AKIAOTHER', 'wrong_signature'],
    ['the day of its key', /AKIAAPP%2F\d{8}/, 'AKIAAPP%2F20200101', 'no_token'],
    ['its region', /us-east-1%2Frds-db/, 'eu-west-1%2Frds-db', 'wrong_signature'],
    ['its service', /%2Frds-db%2F/, '%2Frds%2F', 'no_token'],
    ['its date', /(X-Amz-Date=\d{8}T)\d{6}/, '$1000000', 'wrong_signature'],
    ['its validity', /X-Amz-Expires=900/, 'X-Amz-Expires=899', 'wrong_signature'],
    ['a validity that is too long', /X-Amz-Expires=900/, 'X-Amz-Expires=901', 'no_token'],
    ['a validity of nothing', /X-Amz-Expires=900/, 'X-Amz-Expires=0', 'no_token'],
    ['the headers that it signs', /SignedHeaders=host/, 'SignedHeaders=date', 'no_token'],
    ['its signature', /Signature=[0-9a-f]{4}/, 'Signature=0000', 'wrong_signature'],
    ['a signature that is cut', /(Signature=[0-9a-f]{63})./, '$1', 'no_token'],
    ['one parameter more', /$/, '&X-Amz-Other=1', 'wrong_signature'],
    ['a session token added', /$/, '&X-Amz-Security-Token=t', 'wrong_session_token'],
    ['a parameter twice', /$/, '&DBUser=admin', 'no_token'],
    ['no query', /\?.*/, '', 'no_token'],
  ])('tampered with in %s', async (_name, pattern, by, expected) => {
    const token = await make();
    const tampered = token.replace(pattern, by);
    expect(tampered).not.toBe(token);
    expect(judge(tampered)).toBe(expected);
  });

  test('is not good when any character of it is another one', async () => {
    const token = await make();
    const at = fc.integer({ min: 0, max: token.length - 1 });
    fc.assert(
      fc.property(at, fc.constantFrom('0', 'a', 'Z', '%', '&', '=', '/', ':'), (index, letter) => {
        fc.pre(token[index] !== letter);
        const other = token.slice(0, index) + letter + token.slice(index + 1);
        // The name of the host is compared without regard to case, but it is signed with it.
        return !judge(other).startsWith('ok');
      }),
      { numRuns: 1_000 },
    );
  });

  test('is no password, and a password is no token', () => {
    for (const text of ['', 'hunter2', 'host:5432', `${HOST}:5432/?`, `?${'a=b&'.repeat(99)}`]) {
      expect(judge(text)).toBe('no_token');
    }
    expect(judge(`${HOST}:5432/?Action=%zz`)).toBe('no_token');
    expect(judge(`${HOST}:5432/?Action=${'x'.repeat(20_000)}`)).toBe('no_token');
  });
});

describe('how often', () => {
  const limited = (perSource: number, overall: number) => new RateLimiter({ perSource, overall });

  test('a source may ask, and all together', () => {
    const limiter = limited(2, 3);
    expect(['a', 'a', 'a', 'b', 'b'].map((source) => limiter.take(source, 0))).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  test('it comes back with time', () => {
    const limiter = limited(2, 10);
    for (let i = 0; i < 3; i++) limiter.take('a', 0);
    expect(limiter.take('a', 499)).toBe(false);
    expect(limiter.take('a', 500)).toBe(true);
    expect(limiter.take('a', 500)).toBe(false);
    expect([limiter.take('a', 9_000), limiter.take('a', 9_000), limiter.take('a', 9_000)]).toEqual([
      true,
      true,
      false,
    ]);
  });

  test('many sources are not remembered for ever', () => {
    const limiter = limited(1, 1_000_000);
    for (let i = 0; i < 10_000; i++) limiter.take(`source ${i}`, 0);
    // There is no room for one more, which is limited with all the others only.
    expect([limiter.take('new', 10), limiter.take('new', 10)]).toEqual([true, true]);
    expect([limiter.take('new', 2_000), limiter.take('new', 2_000)]).toEqual([true, false]);
  });

  test('a token that came too often is not looked at', async () => {
    const token = await make();
    const judges = new TokenJudge({
      principals: PRINCIPALS,
      limiter: limited(1, 1),
      region: REGION,
      resourceOf: (user) => RESOURCE + user,
      hostsOf: () => [HOST],
      now: () => Date.now(),
    });
    const login = {
      user: 'app',
      token,
      endpoint: 'default',
      source: 'a',
      local: { host: '', port: PORT },
    };
    expect(judges.judge(login).isOk).toBe(true);
    expect(judges.judge(login)).toEqual({ isOk: false, why: 'too_many' });
  });
});
