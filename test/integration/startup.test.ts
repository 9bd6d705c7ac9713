/**
 * From accept to the question for a password, and the keys at the end of a login: what every client
 * sends first, whole and in pieces, right and wrong. Where it can be said, the measure is what
 * PostgreSQL itself does with the same bytes.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { TimerWheel } from '../../src/base/timer-wheel.ts';
import { Authority } from '../../src/control/certificate/authority.ts';
import type { EngineSettings } from '../../src/engine/contract.ts';
import { ClientLogin } from '../../src/engine/postgres/login/client-login.ts';
import type { LoginHost } from '../../src/engine/postgres/login/login-host.ts';
import { listen } from '../../src/net/listener.ts';
import { AcceptTls } from '../../src/net/tls.ts';
import { EndpointCounters } from '../../src/observe/counters.ts';
import { formatMessage, sqlStates } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import { Arrivals } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { Login } from '../harness/login.ts';
import { untilMetric } from '../harness/polling.ts';
import { addressOf, usePostgres } from '../harness/postgres.ts';
import { type Address, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

const PROTOCOL_3_1 = 0x0003_0001;
const PROTOCOL_3_99 = 0x0003_0063;
const APP = { user: 'app', database: 'app' };

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  logLevel: 'trace',
  // A silent client outlives the login's deadline when the machine is slow.
  expect: [
    (line) =>
      line.event === 'client.closed' &&
      (line.reason === 'protocol_violation' || line.reason === 'login_timeout'),
  ],
}));

function proxy(): Address {
  return { port: berth().port };
}

/** Answers for the password until ReadyForQuery. */
async function authenticate(client: RawClient): Promise<string[]> {
  const login = new Login('app', 'app-password');
  const types: string[] = [];
  for (;;) {
    const message = await client.next();
    types.push(message.type);
    if (message.type === 'E') throw new Error(formatMessage(message));
    const answer = message.type === 'R' ? login.answer(message.body) : undefined;
    if (answer !== undefined) client.send(answer);
    if (message.type === 'Z') return types;
  }
}

/** What came back for some first bytes, up to the question for a password or the end. */
async function answerTo(address: Address, ...pieces: Uint8Array[]): Promise<string> {
  using client = await RawClient.connect(address);
  client.send(...pieces);
  const first = await client.next().catch(() => undefined);
  if (first === undefined) return 'closed';
  if (first.type !== 'E') return first.type;
  await client.untilClosed();
  return `${sqlStates([first])[0] ?? ''} and closed`;
}

/** What comes after SSLRequest is in tls-clients.test.ts. */
describe('encryption requests', () => {
  test('PG-02 GSSENCRequest is answered N, and the login goes on in plain text', async () => {
    using client = await RawClient.connect(proxy());
    expect(await client.requestEncryption(frontend.gssEncRequest())).toBe('N');
    await client.logIn({ ...APP, password: 'app-password' });
  });

  test('PG-02 a second GSSENCRequest is a protocol violation', async () => {
    using client = await RawClient.connect(proxy());
    expect(await client.requestEncryption(frontend.gssEncRequest())).toBe('N');
    client.send(frontend.gssEncRequest());
    expect(sqlStates(await client.untilClosed())).toEqual(['08P01']);
  });

  test('PG-01 bytes behind GSSENCRequest in the same segment go on as plain text', async () => {
    using client = await RawClient.connect(proxy());
    const request = Buffer.concat([frontend.gssEncRequest(), frontend.startup(APP)]);
    expect(await client.requestEncryption(request)).toBe('N');
    expect((await authenticate(client)).at(-1)).toBe('Z');
  });

  test.each([
    ['SSLRequest', frontend.sslRequest(), 'S'],
    ['GSSENCRequest', frontend.gssEncRequest(), 'N'],
  ])('PG-02 %s cut at every byte', async (_name, bytes, answer) => {
    for (let cut = 1; cut < bytes.length; cut++) {
      using client = await RawClient.connect(proxy());
      await client.sendSplit(bytes.subarray(0, cut), cut);
      expect(await client.requestEncryption(bytes.subarray(cut))).toBe(answer);
    }
  });
});

describe('start-up packets', () => {
  test('PG-05 cut at every byte', async () => {
    const bytes = frontend.startup({ ...APP, application_name: 'cut' });
    const cuts = Array.from({ length: bytes.length - 1 }, (_, index) => index + 1);
    const answers = await Promise.all(
      cuts.map(async (cut) => {
        using client = await RawClient.connect(proxy());
        await client.sendSplit(bytes, cut, bytes.length);
        return (await client.next()).type;
      }),
    );
    expect(answers).toEqual(cuts.map(() => 'R'));
  });

  test('PG-05 PG-13 a whole login, one byte at a time', async () => {
    using client = await RawClient.connect(proxy());
    await client.sendSplit(frontend.startup(APP), 1);
    const login = new Login('app', 'app-password');
    for (;;) {
      const message = await client.next();
      expect(message.type).not.toBe('E');
      const answer = message.type === 'R' ? login.answer(message.body) : undefined;
      if (answer !== undefined) await client.sendSplit(answer, 1);
      if (message.type === 'Z') break;
    }
  });

  test('PG-05 10,000 bytes behind the length are taken, as in PostgreSQL, and no more', async () => {
    const empty = frontend.startup({ ...APP, application_name: '' }).length;
    const sized = (length: number) =>
      frontend.startup({ ...APP, application_name: 'x'.repeat(length - empty) });
    using client = await RawClient.connect(proxy());
    client.send(sized(10_004));
    await authenticate(client);
    expect(await answerTo(addressOf(database()), sized(10_004))).toBe('R');
    expect(await answerTo(proxy(), sized(10_005))).toBe('closed');
  });

  const code = frontend.int32(frontend.PROTOCOL_3_0);
  const packet = (...parts: Uint8Array[]) => {
    const body = Buffer.concat([code, ...parts]);
    return Buffer.concat([frontend.int32(body.length + 4), body]);
  };
  const { cString, int32 } = frontend;
  const nul = Buffer.alloc(1);
  const malformed: readonly (readonly [string, Uint8Array])[] = [
    ...[-2_147_483_648, -1, 0, 1, 4, 7, 10_005, 1_234_567_890, 2_147_483_647].map(
      (length) => [`length ${length}`, Buffer.concat([int32(length), code])] as const,
    ),
    ['no parameters and no terminator', packet()],
    ['no parameters', packet(nul)],
    ['a name without an end', packet(Buffer.from('user'))],
    ['a name without a value', packet(cString('user'))],
    ['a value without an end', packet(cString('user'), Buffer.from('app'))],
    ['no terminator', packet(cString('user'), cString('app'))],
    ['an odd count', packet(cString('user'), cString('app'), cString('database'), nul)],
    ['bytes behind the terminator', packet(cString('user'), cString('app'), nul, cString('x'))],
    ['an empty user', packet(cString('user'), nul, nul)],
    ['no user', packet(cString('database'), cString('app'), nul)],
    ['a client that speaks HTTP', Buffer.from('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')],
    ['a client that speaks TLS', Buffer.from('160301020001000001fc0303', 'hex')],
  ];
  for (const [what, bytes] of malformed) {
    test(`PG-05 ${what}: the same as PostgreSQL`, async () => {
      const direct = await answerTo(addressOf(database()), bytes);
      expect(direct).not.toBe('R');
      expect(await answerTo(proxy(), bytes)).toBe(direct);
    });
  }

  test('PG-05 after all of that, and after random changes to a good packet, the proxy serves', async () => {
    const good = frontend.startup({ ...APP, options: '-c geqo=off', application_name: 'fuzz' });
    const seed = 20_260_101;
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return (state >> 8) % below;
    };
    for (let round = 0; round < 40; round++) {
      const bytes = Buffer.from(good);
      for (let change = 0; change < 3; change++) bytes[random(bytes.length)] = random(256);
      using client = await RawClient.connect(proxy());
      client.socket.end(bytes);
    }
    using client = await berth().login();
    expect(await client.query('SELECT 1')).toHaveLength(4);
    expect(berth().logged('internal.failed')).toEqual([]);
  });
});

describe('protocol versions', () => {
  /** The NegotiateProtocolVersion messages of a login, and the length of its cancel key. */
  async function negotiated(address: Address, protocol: number, parameters = {}) {
    const options = { ...APP, password: 'app-password', parameters, protocol };
    using client = await RawClient.login(address, options);
    const notes = client.received.filter(({ type }) => type === 'v').map(({ body }) => body);
    await client.end();
    return { notes: notes.map((body) => body.toString('latin1')), key: client.backendSecret };
  }

  test('PG-07 PG-08 3.0 as it is, with 4 bytes of key', async () => {
    const { notes, key } = await negotiated(proxy(), frontend.PROTOCOL_3_0);
    expect(notes).toEqual([]);
    expect(key).toHaveLength(4);
  });

  test('PG-07 PG-08 3.2 as it is, with a longer key', async () => {
    const { notes, key } = await negotiated(proxy(), frontend.PROTOCOL_3_2);
    expect(notes).toEqual([]);
    expect(key.length).toBeGreaterThan(4);
    expect(key.length).toBeLessThanOrEqual(256);
  });

  test('PG-07 PG-08 3.1 is negotiated to 3.0, with 4 bytes of key', async () => {
    const { notes, key } = await negotiated(proxy(), PROTOCOL_3_1);
    expect(notes).toEqual(['\x00\x03\x00\x00\x00\x00\x00\x00']);
    expect(key).toHaveLength(4);
  });

  test('PG-07 a later 3.x is negotiated as PostgreSQL 18 does', async () => {
    const direct = await negotiated(addressOf(database()), PROTOCOL_3_99);
    expect(direct.notes).toHaveLength(1);
    const { notes, key } = await negotiated(proxy(), PROTOCOL_3_99);
    expect(notes).toEqual(direct.notes);
    expect(key.length).toBeGreaterThan(4);
  });

  for (const protocol of [frontend.PROTOCOL_3_0, frontend.PROTOCOL_3_2, PROTOCOL_3_99]) {
    test(`PG-07 unknown options of 3.${protocol & 0xffff} are listed as PostgreSQL does`, async () => {
      const parameters = { '_pq_.one': 'x', geqo: 'off', '_pq_.two': '' };
      const direct = await negotiated(addressOf(database()), protocol, parameters);
      expect(direct.notes[0]).toContain('_pq_.two');
      expect((await negotiated(proxy(), protocol, parameters)).notes).toEqual(direct.notes);
    });
  }

  test('PG-07 told exactly once, also when the client has to queue', async () => {
    using holder = await berth().login();
    await holder.query('BEGIN');
    using client = await RawClient.connect(proxy());
    // Its own settings make this login need the one connection.
    const parameters = { application_name: 'queued', '_pq_.unknown': '1' };
    const login = client.logIn({
      ...APP,
      password: 'app-password',
      parameters,
      protocol: PROTOCOL_3_99,
    });
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await holder.query('COMMIT');
    await login;
    const result = await client.query('SHOW application_name');
    expect(result.map(formatMessage)).toContain('DataRow "queued"');
    expect(client.received.filter(({ type }) => type === 'v')).toHaveLength(1);
  });

  test('PG-07 4.0 and 2.0 are refused, whatever follows the version', async () => {
    const two = Buffer.alloc(296);
    two.writeInt32BE(296, 0);
    two.writeInt32BE(0x0002_0000, 4);
    two.write('app', 8);
    two.write('app', 72);
    const four = frontend.startup(APP, 0x0004_0000);
    expect(await answerTo(addressOf(database()), four)).toBe('0A000 and closed');
    expect(await answerTo(proxy(), four)).toBe('0A000 and closed');
    // To these PostgreSQL writes an error in the format of version 2.
    expect(await answerTo(proxy(), two)).toBe('0A000 and closed');
    expect(await answerTo(proxy(), frontend.startup(APP, 0))).toBe('0A000 and closed');
  });

  for (const protocol of [frontend.PROTOCOL_3_0, frontend.PROTOCOL_3_2]) {
    test(`PG-08 a cancel with a key of 3.${protocol & 0xffff} arrives, one with a wrong key does not`, async () => {
      using client = await berth().login({ protocol });
      client.send(frontend.query('SELECT pg_sleep(30)'));
      await untilMetric(berth(), 'database_connections_currently_borrowed', 1);
      const wrong = Buffer.from(client.backendSecret);
      wrong[0] = (wrong[0] ?? 0) ^ 1;
      await client.cancel(wrong);
      await client.cancel(Buffer.alloc(0));
      await client.cancel(Buffer.alloc(256));
      expect(client.unread).toEqual([]);
      await client.cancel();
      expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    });
  }
});

describe('clients that say nothing', () => {
  test('PG-04 connects without a byte leave nothing in the log that anybody would read', async () => {
    const probes = 20;
    const isProbe = (reason: unknown) => reason === 'probe';
    const before = berth().logged(({ reason }) => isProbe(reason)).length;
    for (let count = 0; count < probes; count++) {
      const client = await RawClient.connect(proxy());
      if (count % 2 === 0) client.destroy();
      else client.reset();
    }
    const closed = await berth().untilLogged(({ reason }) => isProbe(reason), before + probes);
    const ids = new Set(closed.map((line) => line.client_connection));
    const lines = berth().logged((line) => ids.has(line.client_connection));
    expect(lines.length).toBeGreaterThanOrEqual(probes);
    expect(lines.filter(({ level }) => level !== 'trace' && level !== 'debug')).toEqual([]);
  });

  test('PG-04 a silent client is told and closed at the login deadline, not before', async () => {
    using door = await doorWithHandDrivenClock();
    using client = await RawClient.connect({ port: door.port });
    await door.logins.until(() => door.logins.all[0], 'the login');
    door.wheel.advance(LOGIN_TIMEOUT_MS - 100);
    expect(door.ended.all).toEqual([]);
    door.wheel.advance(LOGIN_TIMEOUT_MS + 100);
    expect(door.ended.all).toEqual(['login_timeout']);
    const [message] = await client.untilClosed();
    expect(message === undefined ? '' : formatMessage(message)).toContain('C="57014"');
  });

  test('PG-04 the deadline holds for the whole login, however slowly bytes trickle in', async () => {
    using door = await doorWithHandDrivenClock();
    using client = await RawClient.connect({ port: door.port });
    await door.logins.until(() => door.logins.all[0], 'the login');
    const bytes = frontend.startup(APP);
    for (let at = 0; at < 10; at++) {
      await client.sendSplit(bytes.subarray(at, at + 1), 1);
      door.wheel.advance((at * LOGIN_TIMEOUT_MS) / 10);
    }
    expect(door.ended.all).toEqual([]);
    door.wheel.advance(LOGIN_TIMEOUT_MS + 100);
    expect(door.ended.all).toEqual(['login_timeout']);
    await client.untilClosed();
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['half of its first message', Buffer.from([0x16, 3, 1, 2, 0, 1, 0])],
  ])('a TLS handshake of which %s comes', async (_what, bytes) => {
    using door = await doorWithHandDrivenClock();
    using client = await RawClient.connect({ port: door.port });
    expect(await client.requestEncryption(frontend.sslRequest())).toBe('S');
    if (bytes.length > 0) client.send(bytes);
    door.wheel.advance(LOGIN_TIMEOUT_MS - 200);
    expect(door.ended.all).toEqual([]);
    door.wheel.advance(LOGIN_TIMEOUT_MS + 100);
    expect(door.ended.all).toEqual(['login_timeout']);
    expect(await client.untilClosed()).toEqual([]);
  });

  const LOGIN_TIMEOUT_MS = 15_000;

  /** A listener with the proxy's own login behind it, on a clock that only the test moves. */
  async function doorWithHandDrivenClock() {
    const wheel = new TimerWheel(0);
    const logins = new Arrivals<ClientLogin>();
    const ended = new Arrivals<string>();
    const unused = () => {
      throw new Error('nobody gets this far');
    };
    const now = Date.now();
    const own = Authority.temporary(now).issue('test', ['localhost'], now);
    const { certificate, privateKey } = own;
    const key = privateKey.reveal();
    const accept = new AcceptTls({ certificate, privateKey: key, protocols: ['postgresql'] });
    const clientTls = { accept, isRequired: false, isCertificateRequired: false };
    const host: LoginHost = {
      endpoint: {
        proxy: 'orders',
        name: 'default',
        wheel,
        observer: { emit: () => undefined },
        counters: new EndpointCounters(),
        limits: { loginTimeoutMs: LOGIN_TIMEOUT_MS, clientTls } as EngineSettings,
        isReadOnly: false,
        hubFor: unused,
        sessionClosed: unused,
      },
      encrypted: unused,
      tlsFailed: unused,
      admit: unused,
      credentialFor: unused,
      checkToken: unused,
      authenticationFailed: unused,
      poolFor: unused,
      poolLeft: unused,
      borrowFailed: unused,
      priorityOf: unused,
      loggedIn: unused,
      replicationPool: unused,
      replicating: unused,
      cancel: unused,
      loginEnded: (reason) => ended.push(reason),
    };
    const listener = listen({ host: '127.0.0.1', port: 0 }, (stream) => {
      logins.push(new ClientLogin(stream, host));
    });
    return {
      port: listener.address.port,
      wheel,
      logins,
      ended,
      [Symbol.dispose]: () => listener.close(),
    };
  }
});
