/**
 * The log-ins of MySQL's and MariaDB's clients through Berth: the real clients in every mode of TLS, and
 * raw packets where a client of good will would not get.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { dirname, join } from 'node:path';
import { TLSSocket } from 'node:tls';
import { Berth, useBerth } from '../harness/berth.ts';
import { TestAuthority } from '../harness/certificates.ts';
import { parseError } from '../harness/mysql/answers.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { CAPABILITY, STATUS } from '../harness/mysql/constants.ts';
import { handshakeAnswer, sslRequest } from '../harness/mysql/handshake.ts';
import { clientOf, runClient } from '../harness/mysql/programs.ts';
import { type MysqlLoginOptions, MysqlRawClient } from '../harness/mysql/raw-client.ts';
import { describeServers, loginTo, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';
import { START_DEADLINE_MS } from '../harness/postgres.ts';
import { skipBecause } from '../harness/programs.ts';
import { useShared } from '../harness/shared.ts';

setDefaultTimeout(30_000);

const APP = { user: 'app', password: 'app-password', database: 'app' } as const;
const TYPES = ['MYSQL_CACHING_SHA2_PASSWORD', 'MYSQL_NATIVE_PASSWORD'] as const;
const PLUGINS = {
  MYSQL_CACHING_SHA2_PASSWORD: 'caching_sha2_password',
  MYSQL_NATIVE_PASSWORD: 'mysql_native_password',
} as const;
/** What a test that sends nonsense, or a wrong password, leaves in the log. */
const REFUSED = [
  'client.authentication_failed',
  'client.tls_failed',
  (line: { readonly event: string; readonly reason?: unknown }) =>
    line.event === 'client.closed' && line.reason === 'protocol_violation',
];

const authorities = useShared({
  name: 'the authorities',
  start: async () => {
    const authority = await TestAuthority.make();
    const stranger = await TestAuthority.make('Stranger');
    return {
      authority,
      stranger,
      server: await authority.issue({ names: ['localhost', '127.0.0.1'] }),
      client: await authority.issue({ commonName: 'app' }),
      unknownClient: await stranger.issue({ commonName: 'app' }),
    };
  },
  stop: async () => undefined,
  deadlineMs: START_DEADLINE_MS,
});

function certificateFiles() {
  const { authority, stranger, server } = authorities();
  return {
    'server.crt': server.certificate,
    'server.key': server.privateKey,
    'ca.crt': authority.certificate,
    'stranger.crt': stranger.certificate,
  };
}

const CERTIFICATE = { CertificateFile: 'server.crt', PrivateKeyFile: 'server.key' };

function loginThrough(berth: Berth, options: Partial<MysqlLoginOptions> = {}) {
  return MysqlRawClient.login({ port: berth.port }, { ...APP, ...options });
}

/** A connection that has read the greeting. */
async function greeted(berth: Berth): Promise<MysqlRawClient> {
  const client = await MysqlRawClient.connect({ port: berth.port });
  await client.readGreeting();
  return client;
}

/** The error that the proxy sends next. */
async function errorOf(client: MysqlRawClient) {
  const { payload } = await client.next();
  return parseError(payload);
}

describeServers('a client of a proxy', (server) => {
  const database = useMysql(server);

  for (const type of TYPES) {
    describe(`with ${type}`, () => {
      const berth = useBerth(() => ({
        configuration: makeMysqlConfiguration(database(), {
          passwordType: type,
          file: { Tls: CERTIFICATE },
        }),
        files: certificateFiles(),
        expect: REFUSED,
      }));
      const plugin = PLUGINS[type];
      const file = (name: string) => join(dirname(berth().configurationFile), name);

      for (const tls of [undefined, {}]) {
        const how = tls === undefined ? 'without TLS' : 'over TLS';
        const withTls = tls === undefined ? {} : { tls };

        test(`MY-03 MY-04 gets in with the right password ${how}`, async () => {
          using client = await loginThrough(berth(), withTls);
          expect(client.authentication).toContain(plugin);
          expect(await client.rows('select current_user(), database()')).toEqual([
            ['app@%', 'app'],
          ]);
        });

        test(`MY-03 MY-04 reads 1045 for a wrong password ${how}, as for an unknown user`, async () => {
          for (const user of ['app', 'nobody']) {
            const login = loginThrough(berth(), { ...withTls, user, password: 'wrong' });
            await expect(login).rejects.toMatchObject({
              code: 1045,
              sqlState: '28000',
              message: `1045 (28000) Access denied for user '${user}'@'%' (using password: YES)`,
            });
          }
        });

        test(`MY-03 reads that it used no password ${how}`, async () => {
          const login = loginThrough(berth(), { ...withTls, password: '' });
          await expect(login).rejects.toMatchObject({
            message: "1045 (28000) Access denied for user 'app'@'%' (using password: NO)",
          });
        });

        test(`MY-03 that begins with another plugin, or an unknown one, is switched ${how}`, async () => {
          const other = PLUGINS[TYPES[type === TYPES[0] ? 1 : 0]];
          for (const first of [other, 'no_such_plugin']) {
            const options = { ...withTls, plugin: first, authentication: Buffer.alloc(5) };
            using client = await loginThrough(berth(), options);
            expect(client.authentication).toContain(plugin);
            expect((await client.ping())[0]?.kind).toBe('ok');
          }
        });
      }

      test('MY-03 is asked for nothing more when it sends the password in clear over TLS', async () => {
        const authentication = Buffer.from('app-password\0');
        const options = { plugin: 'mysql_clear_password', authentication };
        using client = await loginThrough(berth(), { ...options, tls: {} });
        expect(client.loginOk).toBeDefined();
        // In plain text it does not count, and the client is switched like any other.
        using plain = await loginThrough(berth(), options);
        expect(plain.authentication).toContain(plugin);
      });

      test('MY-05 may have connect attributes of 64 KiB, and no database', async () => {
        const attributes = { program_name: 'test', filler: 'x'.repeat(60_000) };
        const { user, password } = APP;
        using client = await MysqlRawClient.login(
          { port: berth().port },
          { user, password, attributes },
        );
        expect(await client.rows('select database()')).toEqual([[null]]);
      });

      test('MY-05 of a client without length-encoded answers, and without plugins, works or is refused', async () => {
        const withoutCapabilities = CAPABILITY.PLUGIN_AUTH_LENENC_CLIENT_DATA;
        using client = await loginThrough(berth(), { withoutCapabilities });
        expect((await client.ping())[0]?.kind).toBe('ok');
        const plain = CAPABILITY.PLUGIN_AUTH | CAPABILITY.PLUGIN_AUTH_LENENC_CLIENT_DATA;
        const old = loginThrough(berth(), {
          withoutCapabilities: plain,
          plugin: 'mysql_native_password',
        });
        if (type === 'MYSQL_NATIVE_PASSWORD') (await old).destroy();
        else await expect(old).rejects.toMatchObject({ code: 1251, sqlState: '08004' });
      });

      test('MY-01 of the protocol of before MySQL 4.1 is refused clearly', async () => {
        using client = await greeted(berth());
        client.sendPacket(Buffer.from('\x05\x00\0\0\0app\0', 'latin1'), 1);
        expect(await errorOf(client)).toMatchObject({ code: 1251 });
      });

      test('MY-08 that counts its packets wrongly is refused', async () => {
        using client = await greeted(berth());
        client.sendPacket(Buffer.alloc(40), 2);
        expect(await errorOf(client)).toMatchObject({ code: 1156, sqlState: '08S01' });
      });

      test('MY-05 that says that its log-in is longer than any is refused at once', async () => {
        using client = await greeted(berth());
        client.sendBytes(Buffer.of(0xff, 0xff, 0x03, 1));
        expect(await errorOf(client)).toMatchObject({ code: 1153, sqlState: '08S01' });
      });

      test('MY-02 may send the handshake with the request for TLS, however it is cut', async () => {
        for (const length of [1, 4, 36]) {
          using client = await loginThrough(berth(), { tls: {} });
          expect(client.loginOk).toBeDefined();
          using cut = await greeted(berth());
          const head = { ...cut.handshakeOf(Buffer.alloc(0), ''), capabilities: 0x0a00 };
          const request = sslRequest(head);
          const frame = Buffer.concat([Buffer.of(request.length, 0, 0, 1), request]);
          await cut.sendSplit(frame, length);
          const tls = await cut.handshake();
          expect(tls.getProtocol()).toStartWith('TLSv1');
        }
      });

      test('MY-02 plain text behind the request for TLS is never read', async () => {
        using client = await greeted(berth());
        const head = client.handshakeOf(Buffer.alloc(0), '');
        const request = sslRequest({ ...head, capabilities: 0x0a00 });
        const smuggled = handshakeAnswer({ ...head, capabilities: 0x8200, user: 'app' });
        client.sendBytes(
          Buffer.concat([
            Buffer.of(request.length, 0, 0, 1),
            request,
            Buffer.of(smuggled.length, 0, 0, 2),
            smuggled,
          ]),
        );
        await expect(client.handshake()).rejects.toThrow();
      });

      const client = clientOf(server);
      const modes = clientModes(server.product);
      for (const [mode, args, isEncrypted] of modes) {
        const name = `MY-02 MY-50 the ${server.product} client works with ${mode}`;
        if (client === undefined) {
          skipBecause(`no client of ${server.product}`, name);
          continue;
        }
        // The clients of MySQL 9 have no mysql_native_password any more.
        if (server.product === 'MySQL' && type === 'MYSQL_NATIVE_PASSWORD') continue;
        test(name, async () => {
          const usual = ['--host=127.0.0.1', `--port=${berth().port}`, '--user=app'];
          const before = await berth().metric('query_requests_tls');
          const sql = ['app', '--execute', `select 'in', database()`];
          const result = await runClient(client, [...usual, ...args(file), ...sql], 'app-password');
          if (isEncrypted === undefined) {
            expect(result.stderr).toContain('ERROR 2026');
            return;
          }
          expect(result).toMatchObject({ stdout: 'in\tapp\n', code: 0 });
          const encrypted = (await berth().metric('query_requests_tls')) - before;
          expect(encrypted > 0).toBe(isEncrypted);
        });
      }
    });
  }

  describe('that must use TLS', () => {
    const berth = useBerth(() => ({
      configuration: makeMysqlConfiguration(database(), {
        proxy: { RequireTLS: true },
        file: { Tls: CERTIFICATE },
      }),
      files: certificateFiles(),
    }));

    test('MY-02 reads 3159 in plain text, whoever it is', async () => {
      for (const user of ['app', 'nobody']) {
        await expect(loginThrough(berth(), { user })).rejects.toMatchObject({
          code: 3159,
          sqlState: 'HY000',
          message: '3159 (HY000) This RDS Proxy requires TLS connections.',
        });
      }
      using client = await loginThrough(berth(), { tls: {} });
      expect(client.loginOk).toBeDefined();
    });
  });

  describe('that must show a certificate', () => {
    const berth = useBerth(() => ({
      configuration: makeMysqlConfiguration(database(), {
        file: { Tls: { ...CERTIFICATE, ClientCAFile: 'ca.crt', ClientCertificate: 'REQUIRED' } },
      }),
      files: certificateFiles(),
      expect: REFUSED,
    }));

    test('MY-02 gets in with one of ours, and with no other', async () => {
      const { client, unknownClient } = authorities();
      const { certificate: cert, privateKey: key } = client;
      using good = await loginThrough(berth(), { tls: { cert, key } });
      expect(good.loginOk).toBeDefined();
      const none = loginThrough(berth(), { tls: {} });
      await expect(none).rejects.toMatchObject({ code: 1045 });
      await expect(loginThrough(berth())).rejects.toMatchObject({ code: 3159 });
      const { certificate, privateKey } = unknownClient;
      const stranger = loginThrough(berth(), { tls: { cert: certificate, key: privateKey } });
      await expect(stranger).rejects.toMatchObject({ code: 1045 });
    });
  });

  test('MY-02 a new certificate is for those who come; who is there stays, and so do the database connections', async () => {
    const renewed = await authorities().authority.issue({ commonName: 'renewed' });
    await using own = await Berth.start({
      configuration: makeMysqlConfiguration(database(), { file: { Tls: CERTIFICATE } }),
      files: certificateFiles(),
    });
    using before = await loginThrough(own, { tls: {} });
    const id = await before.rows('select connection_id()');
    own.writeFile('server.crt', renewed.certificate);
    own.writeFile('server.key', renewed.privateKey);
    await own.reload(own.configuration);
    expect(await before.rows('select connection_id()')).toEqual(id);
    using after = await loginThrough(own, { tls: {} });
    if (!(after.socket instanceof TLSSocket)) throw new Error('a login without TLS');
    expect(after.socket.getPeerCertificate().subject.CN).toBe('renewed');
    expect(await after.rows('select connection_id()')).toEqual(id);
  });

  describe('as another', () => {
    const berth = useBerth(() => ({
      configuration: makeMysqlConfiguration(database(), {
        proxy: { ServerVersion: '8.0.99-proxy', MaxClientConnections: 2 },
      }),
      expect: [(line) => line.event === 'client.closed' && line.reason === 'too_many_connections'],
    }));

    test('MY-01 reads the version that it is told, and capabilities of the target only', async () => {
      using direct = await loginTo(database());
      using client = await loginThrough(berth());
      expect(client.greeting.version).toBe('8.0.99-proxy');
      const offered = client.greeting.capabilities;
      const ofServer = direct.greeting.capabilities;
      const refused = CAPABILITY.COMPRESS | CAPABILITY.ZSTD_COMPRESSION;
      expect(offered & refused).toBe(0);
      expect(offered & CAPABILITY.MULTI_FACTOR_AUTHENTICATION).toBe(0);
      expect(offered & ~ofServer & ~CAPABILITY.SSL).toBe(0);
      const ofMariadb = client.greeting.mariadbCapabilities;
      expect(ofMariadb & ~direct.greeting.mariadbCapabilities).toBe(0);
      expect(client.greeting.collation).toBe(direct.greeting.collation);
    });

    test('MY-06 reads 1040 when there are too many', async () => {
      using first = await loginThrough(berth());
      using second = await loginThrough(berth());
      expect([first.loginOk, second.loginOk]).not.toContain(undefined);
      await expect(loginThrough(berth())).rejects.toMatchObject({
        code: 1040,
        sqlState: 'HY000',
        message: '1040 (HY000) Number simultaneous connections exceeded (2)',
      });
    });
  });

  describe('with a target that says its version itself', () => {
    const berth = useBerth(() => ({
      configuration: makeMysqlConfiguration(database(), {
        users: [
          { name: 'app', password: 'app-password' },
          { name: 'long', password: 'p'.repeat(60_000) },
        ],
      }),
      expect: REFUSED,
    }));

    test('MY-01 reads that version, and a number of its own', async () => {
      using direct = await loginTo(database());
      using client = await loginThrough(berth());
      using another = await loginThrough(berth());
      expect(client.greeting.version).toBe(direct.greeting.version);
      expect(another.greeting.connectionId).not.toBe(client.greeting.connectionId);
    });

    test('MY-05 has the character set and collation of any id that it logs in with', async () => {
      const rows = await mysqlAdmin(
        database(),
        `select id, character_set_name, collation_name from information_schema.collations
           where id < 256 and character_set_name not in ('ucs2', 'utf16', 'utf16le', 'utf32')`,
      );
      expect(rows.length).toBeGreaterThan(100);
      // Each of them makes the connection another one, so not all.
      const some = rows.filter((_row, index) => index % 20 === 0);
      for (const [id, charset, name] of some) {
        const collation = Number(id);
        using client = await loginThrough(berth(), { collation });
        using direct = await loginTo(database(), { collation });
        const sql =
          'select @@character_set_client, @@collation_connection, @@character_set_results';
        const seen = await client.rows(sql);
        expect([id, ...(seen[0] ?? [])]).toEqual([id, ...((await direct.rows(sql))[0] ?? [])]);
        expect([charset, name]).not.toContain(undefined);
      }
    });

    test('MY-05 a collation that no server has is the default, one that no client may have is refused', async () => {
      const sql = 'select @@character_set_client, @@collation_connection';
      using client = await loginThrough(berth(), { collation: 254 });
      using direct = await loginTo(database(), { collation: 254 });
      expect(await client.rows(sql)).toEqual(await direct.rows(sql));
      const ucs2 = { collation: 35 };
      await expect(loginTo(database(), ucs2)).rejects.toMatchObject({ code: 1231 });
      await expect(loginThrough(berth(), ucs2)).rejects.toMatchObject({ code: 1231 });
    });

    test('MY-05 reads of a database that there is not', async () => {
      const login = loginThrough(berth(), { database: 'nosuch' });
      await expect(login).rejects.toMatchObject({
        code: 1049,
        message: "1049 (42000) Unknown database 'nosuch'",
      });
    });

    test('MY-05 may have a password of nearly 64 KiB, which the database does not know', async () => {
      const right = { user: 'long', password: 'p'.repeat(60_000), tls: {} };
      await expect(loginThrough(berth(), right)).rejects.toMatchObject({
        code: 1045,
        message: expect.stringContaining('did not accept the credentials'),
      });
      const wrong = loginThrough(berth(), { ...right, password: `${right.password}x` });
      await expect(wrong).rejects.toMatchObject({ message: expect.stringContaining('1045') });
      berth().expectLog('connection.open_failed', 'borrow.failed');
    });

    test('MY-06 reads with the first OK what a server says', async () => {
      using direct = await loginTo(database());
      using client = await loginThrough(berth());
      expect(client.loginOk?.status).toBe(direct.loginOk?.status);
      expect(client.loginOk?.changes).toEqual(direct.loginOk?.changes ?? []);
      // Who does not ask for session state gets none.
      const withoutCapabilities = CAPABILITY.SESSION_TRACK;
      using plain = await loginThrough(berth(), { withoutCapabilities });
      expect(plain.loginOk?.status).toBe(STATUS.AUTOCOMMIT);
    });
  });
});

type ClientMode = readonly [
  name: string,
  args: (file: (name: string) => string) => readonly string[],
  /** Undefined: the client does not want to. */
  isEncrypted: boolean | undefined,
];

/** MariaDB's client has no modes, but the switches that make them. */
function clientModes(product: 'MariaDB' | 'MySQL'): readonly ClientMode[] {
  if (product === 'MariaDB') {
    return [
      ['--skip-ssl', () => ['--skip-ssl'], false],
      ['--ssl', () => ['--ssl'], true],
      ['--ssl-ca', (file) => [`--ssl-ca=${file('ca.crt')}`], true],
      [
        '--ssl-verify-server-cert',
        (file) => [`--ssl-ca=${file('ca.crt')}`, '--ssl-verify-server-cert'],
        true,
      ],
      [
        'the wrong authority, which it refuses',
        (file) => [`--ssl-ca=${file('stranger.crt')}`, '--ssl-verify-server-cert'],
        undefined,
      ],
    ];
  }
  const key = '--get-server-public-key';
  return [
    ['--ssl-mode=DISABLED', () => ['--ssl-mode=DISABLED', key], false],
    ['--ssl-mode=PREFERRED', () => ['--ssl-mode=PREFERRED'], true],
    ['--ssl-mode=REQUIRED', () => ['--ssl-mode=REQUIRED'], true],
    [
      '--ssl-mode=VERIFY_CA',
      (file) => ['--ssl-mode=VERIFY_CA', `--ssl-ca=${file('ca.crt')}`],
      true,
    ],
    [
      '--ssl-mode=VERIFY_IDENTITY',
      (file) => ['--ssl-mode=VERIFY_IDENTITY', `--ssl-ca=${file('ca.crt')}`],
      true,
    ],
    [
      'the wrong authority, which it refuses',
      (file) => ['--ssl-mode=VERIFY_CA', `--ssl-ca=${file('stranger.crt')}`],
      undefined,
    ],
  ];
}
