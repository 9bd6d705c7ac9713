/** Greetings, log-ins and what comes between: what is made is read back, and no cut of it is read at all. */

import { describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import * as flags from '../../../src/engine/mysql/wire/capabilities.ts';
import {
  authMorePacket,
  authSwitchPacket,
  type ClientLoginPacket,
  changeUserPacket,
  type Greeting,
  greetingPacket,
  isTlsRequest,
  loginPacket,
  readAuthMore,
  readAuthSwitch,
  readChangeUser,
  readGreeting,
  readLogin,
  tlsRequestPacket,
} from '../../../src/engine/mysql/wire/handshake.ts';
import { PacketAssembler, type Received } from '../../../src/engine/mysql/wire/packets.ts';

const {
  CLIENT_CONNECT_ATTRS,
  CLIENT_CONNECT_WITH_DB,
  CLIENT_LONG_PASSWORD,
  CLIENT_PLUGIN_AUTH,
  CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA,
  CLIENT_PROTOCOL_41,
  CLIENT_SECURE_CONNECTION,
  CLIENT_SSL,
} = flags;

const MODERN =
  CLIENT_PROTOCOL_41 |
  CLIENT_SECURE_CONNECTION |
  CLIENT_PLUGIN_AUTH |
  CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA |
  CLIENT_CONNECT_WITH_DB |
  CLIENT_CONNECT_ATTRS;

function payloadOf(bytes: Buffer): Buffer {
  const assembler = new PacketAssembler(2 ** 25, bytes[3]);
  assembler.push(bytes);
  return (assembler.next() as Received).payload;
}

const noNul = fc.string({ maxLength: 60 }).map((text) => text.replaceAll('\0', ''));
const bytesWithoutNul = noNul.map((text) => Buffer.from(text));

const greetings: fc.Arbitrary<Greeting> = fc.record({
  serverVersion: fc.constantFrom('8.4.4', '5.5.5-10.11.19-MariaDB-0+deb12u1', ''),
  threadId: fc.nat(2 ** 32 - 1),
  scramble: fc.uint8Array({ minLength: 20, maxLength: 20 }).map((bytes) => {
    return Buffer.from(bytes.map((byte) => (byte & 0x7f) | 1));
  }),
  capabilities: fc.nat(2 ** 30).map((value) => value | CLIENT_PLUGIN_AUTH),
  mariadbCapabilities: fc.nat(63),
  collation: fc.nat(255),
  status: fc.nat(0xffff),
  plugin: fc.constantFrom('mysql_native_password', 'caching_sha2_password'),
});

describe('the greeting', () => {
  test('MY-01 is read back as it was made', () => {
    fc.assert(
      fc.property(greetings, (greeting) => {
        const read = readGreeting(payloadOf(greetingPacket(greeting)));
        const isMariaDb = (greeting.capabilities & CLIENT_LONG_PASSWORD) === 0;
        expect(read).toEqual({
          ...greeting,
          mariadbCapabilities: isMariaDb ? greeting.mariadbCapabilities : 0,
        });
      }),
    );
  });

  test('is not read when it is cut before the scramble has ended, or of another protocol', () => {
    const [greeting] = fc.sample(greetings, 1);
    if (greeting === undefined) throw new Error('no sample');
    const payload = payloadOf(greetingPacket({ ...greeting, plugin: '' }));
    // The NUL behind the scramble is not needed, nor the one behind the name.
    for (let cut = 0; cut < payload.length - 2; cut++) {
      expect(readGreeting(payload.subarray(0, cut))).toBeUndefined();
    }
    payload[0] = 9;
    expect(readGreeting(payload)).toBeUndefined();
  });

  test('of an old server has a name without its NUL, or none', () => {
    const [greeting] = fc.sample(greetings, 1);
    if (greeting === undefined) throw new Error('no sample');
    const payload = payloadOf(greetingPacket(greeting));
    expect(readGreeting(payload.subarray(0, -1))?.plugin).toBe(greeting.plugin);
    const old = { ...greeting, capabilities: greeting.capabilities & ~CLIENT_PLUGIN_AUTH };
    expect(readGreeting(payloadOf(greetingPacket(old)))?.plugin).toBe('');
  });
});

const logins: fc.Arbitrary<ClientLoginPacket> = fc.record({
  capabilities: fc.constantFrom(MODERN, MODERN | CLIENT_LONG_PASSWORD),
  mariadbCapabilities: fc.nat(63),
  collation: fc.nat(255),
  user: bytesWithoutNul,
  authResponse: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  database: fc.option(
    bytesWithoutNul.filter((bytes) => bytes.length > 0),
    { nil: undefined },
  ),
  plugin: fc.constantFrom('mysql_native_password', 'caching_sha2_password'),
  attributes: fc
    .dictionary(fc.string({ maxLength: 20 }), fc.string({ maxLength: 300 }), { maxKeys: 4 })
    .map((pairs) => new Map(Object.entries(pairs))),
});

describe('the log-in', () => {
  test('MY-05 is read back as it was made', () => {
    fc.assert(
      fc.property(logins, (login) => {
        const read = readLogin(payloadOf(loginPacket(1, login)));
        const isMariaDb = (login.capabilities & CLIENT_LONG_PASSWORD) === 0;
        expect(read).toEqual({
          ...login,
          mariadbCapabilities: isMariaDb ? login.mariadbCapabilities : 0,
        });
      }),
    );
  });

  test('cut anywhere before the attributes it is not read, or read without what is cut off', () => {
    fc.assert(
      fc.property(logins, (login) => {
        const payload = payloadOf(loginPacket(1, login));
        for (let cut = 0; cut < payload.length; cut++) {
          const read = readLogin(payload.subarray(0, cut));
          if (typeof read === 'object') expect(read.attributes.size).toBe(0);
        }
      }),
      { numRuns: 20 },
    );
  });

  const login: ClientLoginPacket = {
    capabilities: MODERN,
    mariadbCapabilities: 0,
    collation: 255,
    user: Buffer.from('app'),
    authResponse: Buffer.alloc(0),
    database: undefined,
    plugin: 'mysql_native_password',
    attributes: new Map(),
  };

  test('MY-05 may have a password of 64 KiB, and attributes of 64 KiB but not of more', () => {
    const authResponse = Buffer.alloc(65_536, 'p');
    const attributes = new Map([['a', 'x'.repeat(65_530)]]);
    const read = readLogin(payloadOf(loginPacket(1, { ...login, authResponse, attributes })));
    expect(read).toMatchObject({ authResponse, attributes });
    const more = new Map([['a', 'x'.repeat(65_531)]]);
    expect(readLogin(payloadOf(loginPacket(1, { ...login, attributes: more })))).toBe('malformed');
  });

  test('MY-05 of a client that knows no plugins has its answer behind one byte of length', () => {
    const old = { ...login, capabilities: CLIENT_PROTOCOL_41 | CLIENT_SECURE_CONNECTION };
    const read = readLogin(
      payloadOf(loginPacket(1, { ...old, authResponse: Buffer.alloc(20, 1) })),
    );
    expect(read).toMatchObject({ plugin: '', authResponse: Buffer.alloc(20, 1) });
  });

  test('MY-01 of the protocol of before MySQL 4.1 is told from one that is broken', () => {
    // Capabilities of two bytes, packet size of three, user.
    expect(readLogin(Buffer.from('\x85\x24\0\0\0app\0', 'latin1'))).toBe('old_protocol');
    expect(readLogin(Buffer.from('\0\x02\0\0', 'latin1'))).toBe('malformed');
    expect(readLogin(Buffer.of(1))).toBe('malformed');
  });

  test('MY-02 a request for TLS is a log-in that ends before the user', () => {
    const fixed = { ...login, capabilities: MODERN | CLIENT_SSL };
    expect(isTlsRequest(payloadOf(tlsRequestPacket(1, fixed)))).toBe(true);
    expect(isTlsRequest(payloadOf(loginPacket(1, fixed)))).toBe(false);
    expect(isTlsRequest(payloadOf(tlsRequestPacket(1, login)))).toBe(false);
  });
});

describe('the packets between', () => {
  test('MY-03 AuthSwitchRequest is read back, and the one of old servers is told apart', () => {
    const data = Buffer.from('a scramble of 20 byt');
    const payload = payloadOf(authSwitchPacket(2, 'caching_sha2_password', data));
    expect(readAuthSwitch(payload)).toEqual({ plugin: 'caching_sha2_password', data });
    expect(readAuthSwitch(Buffer.of(0xfe))).toBe('old');
    expect(readAuthSwitch(Buffer.from('\xfeplugin', 'latin1'))).toBeUndefined();
    expect(readAuthSwitch(Buffer.of(0))).toBeUndefined();
  });

  test('MY-04 AuthMoreData is read back', () => {
    expect(readAuthMore(payloadOf(authMorePacket(3, Buffer.of(4))))).toEqual(Buffer.of(4));
    expect(readAuthMore(Buffer.of(0, 4))).toBeUndefined();
  });

  test('MY-05 MY-25 COM_CHANGE_USER has all of the collation id', () => {
    const change = {
      user: Buffer.from('app'),
      authResponse: Buffer.alloc(32, 7),
      database: Buffer.from('orders'),
      collation: 309,
      plugin: 'caching_sha2_password',
      attributes: new Map([['program_name', 'test']]),
    };
    const payload = payloadOf(changeUserPacket(MODERN, change));
    expect(readChangeUser(payload, MODERN)).toEqual(change);
    const short = payload.subarray(0, 1 + 4 + 33 + 7);
    expect(readChangeUser(short, MODERN)).toMatchObject({ collation: undefined, plugin: '' });
    for (let cut = 0; cut < short.length; cut++) {
      expect(readChangeUser(payload.subarray(0, cut), MODERN)).toBeUndefined();
    }
  });
});
