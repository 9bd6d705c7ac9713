/**
 * Berth's own log-ins at MySQL and MariaDB: every authentication plugin that the servers have, over every
 * kind of channel, with what the servers remember of a password and without; and every mode of TLS.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { Berth, type BerthOptions } from '../harness/berth.ts';
import { TestAuthority } from '../harness/certificates.ts';
import {
  type MysqlConfigurationOptions,
  makeMysqlConfiguration,
} from '../harness/mysql/configuration.ts';
import { MysqlRawClient } from '../harness/mysql/raw-client.ts';
import {
  describeServers,
  mysqlAdmin,
  mysqlCertificates,
  TRAITS,
  useMysql,
} from '../harness/mysql/server.ts';

setDefaultTimeout(60_000);

const CHANNELS: Readonly<Record<string, MysqlConfigurationOptions>> = {
  'in plain text': { databaseTls: { Mode: 'DISABLED' } },
  'over TLS': { databaseTls: { Mode: 'REQUIRED' } },
  'over a Unix socket': { viaSocket: true },
};
const REFUSED = ['connection.open_failed', 'borrow.failed', 'target.health_changed'];

describeServers('Berth', (server) => {
  const database = useMysql(server);
  const users = Object.values(TRAITS[server.product].pluginUsers);

  async function start(
    options: MysqlConfigurationOptions,
    more: Pick<BerthOptions, 'files' | 'expect'> = {},
  ): Promise<Berth> {
    return await Berth.start({
      configuration: makeMysqlConfiguration(database(), options),
      ...more,
    });
  }

  function login(berth: Berth, user = 'app', password = `${user}-password`) {
    return MysqlRawClient.login({ port: berth.port }, { user, password, tls: {} });
  }

  for (const [channel, options] of Object.entries(CHANNELS)) {
    test(`MY-03 MY-04 logs in with every plugin ${channel}, twice`, async () => {
      // A server forgets the passwords that it has seen, so that it has to ask for them.
      await mysqlAdmin(database(), 'flush privileges');
      const berth = await start({ ...options, users });
      for (const { name, password } of users) {
        using client = await login(berth, name, password);
        expect(await client.rows('select current_user()')).toEqual([[`${name}@%`]]);
        // In a transaction it keeps its connection, so the next one is new: now it is remembered.
        await client.query('begin');
        using second = await login(berth, name, password);
        await second.query('begin');
        const id = 'select connection_id()';
        expect(await second.rows(id)).not.toEqual(await client.rows(id));
      }
      await berth.stop();
    });
  }

  const ciphers = `select variable_value <> '' from performance_schema.session_status
    where variable_name = 'Ssl_cipher'`;
  const encryption = server.product === 'MySQL' ? ciphers : mariaDbCipher();

  describe('with TLS', () => {
    const modes = [
      ['disable', {}, '0'],
      ['prefer', {}, '1'],
      ['require', {}, '1'],
      ['require', { CAFile: 'ca.crt' }, '1'],
      ['verify-ca', { CAFile: 'ca.crt' }, '1'],
      ['VERIFY_IDENTITY', { CAFile: 'ca.crt' }, '1'],
    ] as const;

    for (const [Mode, more, isEncrypted] of modes) {
      test(`MY-50 as ${Mode} ${Object.keys(more).join()}`, async () => {
        const { authority } = await mysqlCertificates();
        const files = { 'ca.crt': authority.certificate };
        const berth = await start({ databaseTls: { Mode, ...more } }, { files });
        using client = await login(berth);
        expect(await client.rows(encryption)).toEqual([[isEncrypted]]);
        await berth.stop();
      });
    }

    test('MY-50 does not trust a database that somebody else vouches for', async () => {
      const stranger = await TestAuthority.make('Stranger');
      const berth = await start(
        { databaseTls: { Mode: 'VERIFY_CA', CAFile: 'ca.crt' } },
        { files: { 'ca.crt': stranger.certificate }, expect: REFUSED },
      );
      await berth.untilLogged('target.health_changed');
      expect(berth.logText).toContain('the database is not trusted');
      await berth.stop();
    });
  });

  test('MY-03 says that the database refuses the password, and not more', async () => {
    const wrong = [{ name: 'app', password: 'not-this-one' }];
    const berth = await start({ users: wrong }, { expect: REFUSED });
    await expect(login(berth, 'app', 'not-this-one')).rejects.toMatchObject({
      code: 1045,
      message: expect.stringContaining('did not accept the credentials'),
    });
    expect(berth.logText).toContain("Access denied for user 'app'");
    await berth.stop();
  });
});

describeServers('Berth before a server without TLS', (server) => {
  const database = useMysql(server, { tls: false, settings: withoutTls(server.product) });

  test('MY-50 prefers it, and does without', async () => {
    const configuration = makeMysqlConfiguration(database(), {});
    const berth = await Berth.start({ configuration });
    const options = { user: 'app', password: 'app-password' };
    using client = await MysqlRawClient.login({ port: berth.port }, options);
    expect((await client.ping())[0]?.kind).toBe('ok');
    await berth.stop();
  });

  test('MY-50 requires it, and goes no further', async () => {
    const databaseTls = { Mode: 'REQUIRED' };
    const configuration = makeMysqlConfiguration(database(), { databaseTls });
    const berth = await Berth.start({ configuration, expect: REFUSED });
    await berth.untilLogged('target.health_changed');
    expect(berth.logText).toContain('the database has no TLS, and the proxy is told to use it');
    await berth.stop();
  });
});

/** MariaDB has the status of the session elsewhere. */
function mariaDbCipher(): string {
  return `select variable_value <> '' from information_schema.session_status
    where variable_name = 'Ssl_cipher'`;
}

/** MySQL makes a certificate for itself unless it is told not to. */
function withoutTls(product: 'MariaDB' | 'MySQL'): Readonly<Record<string, string>> {
  return product === 'MySQL' ? { tls_version: '' } : {};
}
