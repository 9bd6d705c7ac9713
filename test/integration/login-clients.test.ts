/** Clients that log in, or try to: SCRAM and MD5, right, wrong, malformed and large. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { type BackendMessage, errorFields, sqlStates } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import { makeConfiguration } from '../harness/configuration.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { Login } from '../harness/login.ts';
import { usePostgres } from '../harness/postgres.ts';
import { RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

/** 65,535 bytes, the most that PostgreSQL and its clients send. */
const LARGE_PASSWORD = `${'é'.repeat(32_767)}x`;
const USERS = [
  { name: 'app', password: 'app-password' },
  { name: 'large', password: LARGE_PASSWORD },
];

const database = usePostgres({
  users: [{ name: 'app', password: 'app-password' }, { name: 'large' }],
  databases: [{ name: 'app' }],
});
const berth = useBerth(() => {
  const configuration = makeConfiguration({ database: database(), users: USERS });
  const [orders] = configuration.DBProxies;
  const md5 = USERS.map(({ name }) => ({
    SecretArn: name,
    ClientPasswordAuthType: 'POSTGRES_MD5',
  }));
  return {
    configuration: {
      ...configuration,
      DBProxies: [{ ...orders }, { ...orders, DBProxyName: 'old', Auth: md5 }],
    },
    expect: [
      'client.authentication_failed',
      (line) => line.event === 'client.closed' && line.reason === 'protocol_violation',
    ],
  };
});

const METHODS = [
  { method: 'scram-sha-256', proxy: 0 },
  { method: 'md5', proxy: 1 },
] as const;

describe.each(METHODS)('$method', ({ method, proxy }) => {
  const address = () => ({ port: berth().ports[proxy] ?? 0 });

  test('the right password', async () => {
    const options = { user: 'app', password: 'app-password', database: 'app' };
    using client = await RawClient.login(address(), options);
    expect(client.authentication).toEqual(method === 'md5' ? ['md5'] : ['scram-sha-256']);
    expect(await client.query('SELECT 1')).toHaveLength(4);
  });

  test('PG-13 a password of 64 KiB', async () => {
    expect(Buffer.byteLength(LARGE_PASSWORD)).toBe(65_535);
    const options = { user: 'large', password: LARGE_PASSWORD, database: 'app' };
    using client = await RawClient.login(address(), options);
    expect(await client.query('SELECT 1')).toHaveLength(4);
    const wrong = { ...options, password: `${LARGE_PASSWORD.slice(0, -1)}y` };
    const refused = RawClient.login(address(), wrong);
    await expect(refused).rejects.toMatchObject({ sqlState: '28P01' });
  });

  test('PG-12 a wrong password for a database that does not exist: nothing of the database', async () => {
    const wrong = await refusal(address(), 'app', 'wrong-password');
    const nowhere = await refusal(address(), 'app', 'wrong-password', 'nowhere');
    expect(nowhere.shape).toEqual(wrong.shape);
    const unknown = await refusal(address(), 'nob', 'app-password', 'nowhere');
    expect(unknown.shape).toEqual(wrong.shape);
  });

  test('PG-12 PG-17 unknown user and wrong password: the same answer after the same time', async () => {
    const [wrong, unknown, again] = await Promise.all([
      refusal(address(), 'app', 'wrong-password'),
      refusal(address(), 'nob', 'wrong-password'),
      refusal(address(), 'nob', 'app-password'),
    ]);
    expect(unknown.shape).toEqual(wrong.shape);
    expect(again.shape).toEqual(wrong.shape);
    expect(wrong.shape.at(-1)).toContain('C28P01');
    // A salt that changes from one try to the next would tell that the user does not exist.
    if (method === 'scram-sha-256') expect(again.salt).toBe(unknown.salt);
    expect(unknown.salt).not.toBe(wrong.salt);
    for (const { tookMs } of [wrong, unknown]) expect(tookMs).toBeGreaterThan(450);
    expect(Math.abs(wrong.tookMs - unknown.tookMs)).toBeLessThan(300);
  });

  test('PG-12 the empty password of an unknown user is as wrong as any other', async () => {
    const empty = await refusal(address(), 'nob', '');
    const wrong = await refusal(address(), 'app', '');
    expect(empty.shape).toEqual(wrong.shape);
  });

  test('PG-12 who waits for the answer to a wrong password holds up nobody', async () => {
    const refused = Array.from({ length: 20 }, () => refusal(address(), 'app', 'wrong'));
    let isRefused = false;
    const first = Promise.race(refused).then(() => {
      isRefused = true;
    });
    const options = { user: 'app', password: 'app-password', database: 'app' };
    using client = await RawClient.login(address(), options);
    expect(await client.query('SELECT 1')).toHaveLength(4);
    expect(isRefused).toBe(false);
    await first;
    await Promise.all(refused);
  });

  test('PG-05 PG-13 anything else in place of the password is refused, and nobody else notices', async () => {
    const answers: readonly Uint8Array[] = [
      frontend.query('SELECT 1'),
      frontend.terminate(),
      frontend.message('p'),
      frontend.message('p', Buffer.alloc(70_000)),
      Buffer.concat([Buffer.from('p'), frontend.int32(3)]),
      Buffer.concat([Buffer.from('p'), frontend.int32(-1)]),
      Buffer.concat([Buffer.from('p'), frontend.int32(0x7fff_ffff), Buffer.alloc(100_000)]),
      frontend.startup({ user: 'app' }),
      frontend.password('x'.repeat(65_000)),
    ];
    const ends = await Promise.all(answers.map((answer) => endAfter(address(), answer)));
    for (const end of ends) expect(['08P01', '28P01']).toContain(end);
    expect(berth().logged('internal.failed')).toEqual([]);
  });
});

describe('malformed SCRAM', () => {
  const address = () => ({ port: berth().port });

  const firsts: Readonly<Record<string, Uint8Array>> = {
    'an unknown mechanism': frontend.saslInitialResponse('SCRAM-SHA-1', 'n,,n=,r=abc'),
    'channel binding that was not offered': frontend.saslInitialResponse(
      'SCRAM-SHA-256-PLUS',
      'p=tls-server-end-point,,n=,r=abc',
    ),
    'no mechanism': frontend.message('p', Buffer.from('SCRAM-SHA-256')),
    'a length beyond the message': frontend.message(
      'p',
      frontend.cString('SCRAM-SHA-256'),
      frontend.int32(1_000),
      Buffer.from('n,,n=,r=abc'),
    ),
    'a length of -2': frontend.message(
      'p',
      frontend.cString('SCRAM-SHA-256'),
      frontend.int32(-2),
      Buffer.from('n,,n=,r=abc'),
    ),
    'no nonce': frontend.saslInitialResponse('SCRAM-SHA-256', 'n,,n=user'),
    'an empty nonce': frontend.saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r='),
    'a mandatory extension': frontend.saslInitialResponse('SCRAM-SHA-256', 'n,,m=x,n=,r=abc'),
    'a nonce of 64 KB': frontend.saslInitialResponse(
      'SCRAM-SHA-256',
      `n,,n=,r=${'x'.repeat(64_000)}`,
    ),
    nothing: frontend.saslInitialResponse('SCRAM-SHA-256', ''),
  };
  test('PG-13 client-first', async () => {
    const ends = await endsOf(firsts, (first) => endAfter(address(), first));
    expect(ends).toEqual(Object.keys(firsts).map((what) => `${what}: 28P01`));
  });

  const finals: Readonly<Record<string, (nonce: string) => string>> = {
    'no proof': (nonce) => `c=biws,r=${nonce}`,
    'a proof that is not base64': (nonce) => `c=biws,r=${nonce},p=!!!!`,
    'a short proof': (nonce) => `c=biws,r=${nonce},p=AAAA`,
    'a long proof': (nonce) => `c=biws,r=${nonce},p=${Buffer.alloc(2_000).toString('base64')}`,
    'another nonce': () => `c=biws,r=other,p=${Buffer.alloc(32).toString('base64')}`,
    'other channel binding': (nonce) =>
      `c=eSws,r=${nonce},p=${Buffer.alloc(32).toString('base64')}`,
    'a proof of zeros': (nonce) => `c=biws,r=${nonce},p=${Buffer.alloc(32).toString('base64')}`,
    nothing: () => '',
  };
  test('PG-13 client-final', async () => {
    const ends = await endsOf(finals, async (final) => {
      using client = await begun(address(), 'app');
      client.send(frontend.saslInitialResponse('SCRAM-SHA-256', 'n,,n=,r=abcdefgh'));
      const { body } = await client.next();
      const nonce = /r=([^,]+)/.exec(body.toString())?.[1] ?? '';
      expect(nonce).toStartWith('abcdefgh');
      client.send(frontend.saslResponse(final(nonce)));
      return sqlStates(await client.untilClosed())[0] ?? 'closed';
    });
    expect(ends).toEqual(Object.keys(finals).map((what) => `${what}: 28P01`));
  });

  test('PG-12 none of these counts as a client any more', async () => {
    expect(await berth().metric('client_connections_in_setup')).toBe(0);
    expect(await berth().metric('client_connections')).toBe(0);
  });
});

/** How each case ends; all at once, since each is answered late. */
function endsOf<Case>(
  cases: Readonly<Record<string, Case>>,
  run: (each: Case) => Promise<string>,
): Promise<string[]> {
  const ends = Object.entries(cases).map(async ([what, each]) => `${what}: ${await run(each)}`);
  return Promise.all(ends);
}

interface Refusal {
  /** Every message, without what must differ: salts, nonces, and the user's name. */
  readonly shape: readonly string[];
  readonly salt: string;
  readonly tookMs: number;
}

type PortAddress = { readonly port: number };

/** A client that has been asked for its password. */
async function begun(address: PortAddress, user: string): Promise<RawClient> {
  const client = await RawClient.connect(address);
  client.send(frontend.startup({ user, database: 'app' }));
  expect((await client.next()).type).toBe('R');
  return client;
}

async function endAfter(address: PortAddress, answer: Uint8Array): Promise<string> {
  using client = await begun(address, 'app');
  client.send(answer);
  return sqlStates(await client.untilClosed())[0] ?? 'closed';
}

async function refusal(
  address: PortAddress,
  user: string,
  password: string,
  databaseName = 'app',
): Promise<Refusal> {
  using client = await RawClient.connect(address);
  client.send(frontend.startup({ user, database: databaseName }));
  const login = new Login(user, password);
  const shape: string[] = [];
  let salt = '';
  let answeredAt = 0;
  for (;;) {
    const message = await client.next();
    if (message.type === 'E') {
      shape.push(errorShape(message, user));
      await client.untilClosed();
      return { shape, salt, tookMs: performance.now() - answeredAt };
    }
    const { body } = message;
    const found = saltOf(body);
    if (found !== '') salt = found;
    shape.push(authenticationShape(body));
    const answer = login.answer(body);
    if (answer === undefined) throw new Error('the login was not refused');
    answeredAt = performance.now();
    client.send(answer);
  }
}

function errorShape(message: BackendMessage, user: string): string {
  const fields = [...errorFields(message)];
  return fields.map(([key, value]) => key + value.replaceAll(user, '{user}')).join(' ');
}

function saltOf(body: Buffer): string {
  if (body.readInt32BE(0) === 5) return body.toString('hex', 4);
  return /s=([^,]+)/.exec(body.toString())?.[1] ?? '';
}

function authenticationShape(body: Buffer): string {
  const code = body.readInt32BE(0);
  if (code === 5) return `md5 with ${body.length - 4} bytes of salt`;
  const text = body.toString('latin1', 4);
  return `${code} ${text.replace(/r=[^,]+/, (nonce) => `r=${nonce.length}`).replace(/s=[^,]+/, (salt) => `s=${salt.length}`)}`;
}
