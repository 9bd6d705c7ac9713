/** The log-in at a database that is not one, or not a good one: a socket that says what a test wants. */

import { afterAll, describe, expect, test } from 'bun:test';
import { TimerWheel } from '../../../src/base/timer-wheel.ts';
import { Secret } from '../../../src/credential/secret.ts';
import { CACHING_SHA2, NATIVE } from '../../../src/engine/mysql/auth/plugins.ts';
import {
  DatabaseLogin,
  type LoggedInFacts,
  type LoginFailure,
} from '../../../src/engine/mysql/login/database-login.ts';
import { KnownServer } from '../../../src/engine/mysql/login/server-facts.ts';
import {
  CLIENT_PLUGIN_AUTH,
  CLIENT_PROTOCOL_41,
  CLIENT_SECURE_CONNECTION,
  CLIENT_SSL,
} from '../../../src/engine/mysql/wire/capabilities.ts';
import {
  authMorePacket,
  authSwitchPacket,
  greetingPacket,
} from '../../../src/engine/mysql/wire/handshake.ts';
import { packet } from '../../../src/engine/mysql/wire/packets.ts';
import { okPacket, serverErrorPacket } from '../../../src/engine/mysql/wire/replies.ts';
import { ConnectTls } from '../../../src/net/tls.ts';

const clock = () => performance.now();
const wheel = new TimerWheel(clock());
wheel.start(clock);
afterAll(() => wheel.stop());

const CAPABILITIES = CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION | CLIENT_PLUGIN_AUTH;
const GREETING = {
  serverVersion: '8.4.4',
  threadId: 7,
  scramble: Buffer.alloc(20, 'x'),
  capabilities: CAPABILITIES | 1,
  mariadbCapabilities: 0,
  collation: 255,
  status: 2,
  plugin: NATIVE,
};
const PLAIN = { connect: undefined, isRequired: false };
const TLS = {
  connect: new ConnectTls({ verify: 'nothing', host: '127.0.0.1', protocols: [] }),
  isRequired: true,
};
const ERROR = { errno: 1040, sqlState: '08004', text: 'Too many connections' };

/** What the database says at first, and in answer to each chunk from us; undefined: it hangs up. */
type Script = readonly [Buffer, ...(Buffer | undefined)[]];

function loginTo(
  script: Script,
  databaseTls: typeof PLAIN | typeof TLS = PLAIN,
): Promise<LoginFailure | LoggedInFacts> {
  const rest = [...script];
  const say = (socket: { write(bytes: Uint8Array): number; end(): void }) => {
    const next = rest.shift();
    if (next === undefined) socket.end();
    else socket.write(next);
  };
  const listener = Bun.listen({
    hostname: '127.0.0.1',
    port: 0,
    socket: { open: say, data: say },
  });
  const { promise, resolve } = Promise.withResolvers<LoginFailure | LoggedInFacts>();
  const address = { host: '127.0.0.1', port: listener.port };
  const target = { address, wheel, databaseTls, server: new KnownServer() };
  const identity = { user: 'app', password: new Secret('secret') };
  new DatabaseLogin(target, identity, {
    failed: resolve,
    opened: (stream, facts) => {
      stream.destroy();
      resolve(facts);
    },
  });
  return promise.finally(() => listener.stop(true));
}

describe('in place of a greeting', () => {
  test('MY-06 an error without SQLSTATE is understood, and passes when it is about room', async () => {
    const bare = Buffer.concat([Buffer.of(0xff, 0x10, 0x04), Buffer.from('Too many connections')]);
    const failure = await loginTo([packet(0, bare)]);
    expect(failure).toMatchObject({
      isTemporary: true,
      reason: 'CONNECTION_FAILED',
      detail: 'Too many connections (error 1040, SQLSTATE HY000)',
    });
  });

  test('MY-06 a host that is blocked stays so until somebody acts', async () => {
    const blocked = { errno: 1129, sqlState: 'HY000', text: 'Host is blocked' };
    expect(await loginTo([serverErrorPacket(0, blocked)])).toMatchObject({ isTemporary: false });
  });

  test.each([
    ['nonsense', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['another protocol', packet(0, Buffer.of(9))],
    ['a packet out of order', packet(1, Buffer.of(10))],
  ])('MY-08 %s is no server', async (_name, bytes) => {
    expect(await loginTo([bytes])).toMatchObject({
      isTemporary: false,
      detail: 'the target does not speak the MySQL protocol',
    });
  });
});

describe('TLS', () => {
  const offered = { ...GREETING, capabilities: GREETING.capabilities | CLIENT_SSL };

  test('MY-02 a database that has none, where it is required, gets no password', async () => {
    const failure = await loginTo([greetingPacket(GREETING)], TLS);
    expect(failure).toMatchObject({
      detail: 'the database has no TLS, and the proxy is told to use it',
    });
  });

  test('MY-02 what comes with the greeting is not read after the handshake', async () => {
    const ok = okPacket(2, 0);
    const failure = await loginTo([Buffer.concat([greetingPacket(offered), ok])], TLS);
    expect(failure).toMatchObject({ detail: 'the database sent more than its greeting' });
  });

  test('MY-02 plain text in place of a handshake ends the log-in', async () => {
    const failure = await loginTo([greetingPacket(offered), okPacket(2, 0)], TLS);
    expect(failure).toMatchObject({ reason: 'CONNECTION_FAILED' });
    expect('detail' in failure && failure.detail).toContain('TLS');
  });
});

describe('the authentication', () => {
  const greeting = greetingPacket(GREETING);

  test('MY-08 the numbers of packets go on through a change of plugin', async () => {
    const change = authSwitchPacket(2, CACHING_SHA2, GREETING.scramble);
    const known = Buffer.concat([authMorePacket(4, Buffer.of(3)), okPacket(5, 0)]);
    expect(await loginTo([greeting, change, known])).toMatchObject({ threadId: 7 });
    const wrong = Buffer.concat([authMorePacket(3, Buffer.of(3)), okPacket(4, 0)]);
    expect(await loginTo([greeting, change, wrong])).toMatchObject({
      detail: 'the database sent something that belongs to no login',
    });
  });

  test('MY-03 a plugin that we do not know is named to the operator', async () => {
    const change = authSwitchPacket(2, 'auth_gssapi_client', Buffer.alloc(0));
    expect(await loginTo([greeting, change])).toMatchObject({
      reason: 'AUTH_FAILURE',
      detail:
        'the database asks for the authentication plugin auth_gssapi_client, which Berth does not know',
    });
    expect(await loginTo([greeting, packet(2, Buffer.of(0xfe))])).toMatchObject({
      detail: expect.stringContaining('mysql_old_password'),
    });
  });

  test('MY-03 nobody is given the password in clear for the asking', async () => {
    const change = authSwitchPacket(2, 'mysql_clear_password', Buffer.alloc(0));
    expect(await loginTo([greeting, change])).toMatchObject({
      detail: expect.stringContaining('in clear'),
    });
  });

  test('MY-04 a key that is none ends the log-in', async () => {
    const script: Script = [
      greeting,
      authSwitchPacket(2, CACHING_SHA2, GREETING.scramble),
      authMorePacket(4, Buffer.of(4)),
      authMorePacket(6, Buffer.from('no key')),
    ];
    expect(await loginTo(script)).toMatchObject({
      detail: 'the public key of the database is of no use for this password; TLS does without it',
    });
  });

  test.each([
    [ERROR, true, 'CONNECTION_FAILED'],
    [{ ...ERROR, errno: 1226, sqlState: '42000' }, true, 'CONNECTION_FAILED'],
    [{ ...ERROR, errno: 1045, sqlState: '28000' }, false, 'AUTH_FAILURE'],
    [{ ...ERROR, errno: 3118, sqlState: 'HY000' }, false, 'AUTH_FAILURE'],
    [{ ...ERROR, errno: 1105, sqlState: 'HY000' }, false, 'CONNECTION_FAILED'],
  ] as const)('MY-06 %p passes by itself: %p', async (error, isTemporary, reason) => {
    const failure = await loginTo([greeting, serverErrorPacket(2, error)]);
    expect(failure).toMatchObject({ isTemporary, reason });
  });

  test('an end in the middle may pass', async () => {
    expect(await loginTo([greeting, undefined])).toMatchObject({
      isTemporary: true,
      detail: 'the database closed the connection during the login',
    });
  });
});
