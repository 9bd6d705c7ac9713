/** IAM tokens as passwords of MySQL's and MariaDB's clients, through Berth. */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createConnection as createMariadb } from 'mariadb';
import { createConnection } from 'mysql2/promise';
import { useBerth } from '../harness/berth.ts';
import { IAM_PRINCIPALS, iamToken, POWERLESS_KEY, type TokenOptions } from '../harness/iam.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { clientOf, runClient } from '../harness/mysql/programs.ts';
import { describeServers, useMysql } from '../harness/mysql/server.ts';

setDefaultTimeout(30_000);

describeServers('IAM tokens', (server) => {
  const database = useMysql(server);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), {
      proxy: { Auth: [{ SecretArn: 'app', IAMAuth: 'REQUIRED' }, { SecretArn: 'other' }] },
      file: { Principals: IAM_PRINCIPALS },
    }),
    expect: ['client.authentication_failed'],
  }));

  const token = (more: Partial<TokenOptions> = {}) => iamToken({ port: berth().port, ...more });

  /** Log-ins and changes of the user that were refused so far. Each is in the log, at last. */
  let refusals = 0;

  async function withMysql2(password: string, { isEncrypted = true, user = 'app' } = {}) {
    const tls = isEncrypted ? { ssl: { rejectUnauthorized: false } } : {};
    const place = { host: '127.0.0.1', port: berth().port, database: 'app' };
    // The password goes out as it is, so the driver wants to be asked.
    const client = { enableCleartextPlugin: true, user, password, ...tls };
    try {
      const connection = await createConnection({ ...place, ...client });
      const [rows] = await connection.query('select current_user() as name');
      await connection.end();
      return JSON.stringify(rows);
    } catch (error) {
      refusals++;
      const { errno, message } = error as Error & { errno?: number };
      return `${errno} ${message}`;
    }
  }

  /** The log is written beside the answer, maybe after it. */
  const lastFailure = async () =>
    (await berth().untilLogged('client.authentication_failed', refusals))[refusals - 1];

  describe('let in', () => {
    test('mysql2', async () => {
      expect(await withMysql2(await token())).toContain('app@');
      expect(berth().logged('client.authenticated').at(-1)).toMatchObject({
        principal: 'arn:aws:iam::000000000000:user/connect',
      });
    });

    test('the mariadb driver', async () => {
      const place = { host: '127.0.0.1', port: berth().port, database: 'app' };
      const ssl = { rejectUnauthorized: false };
      const client = await createMariadb({ ...place, user: 'app', password: await token(), ssl });
      const [row] = await client.query('select current_user() as name');
      await client.end();
      expect(row.name).toStartWith('app@');
    });

    const client = clientOf(server);
    test.skipIf(client === undefined)('the command line', async () => {
      const place = ['--host=127.0.0.1', `--port=${berth().port}`, '--user=app'];
      const tls =
        server.product === 'MariaDB'
          ? ['--ssl', '--skip-ssl-verify-server-cert']
          : ['--ssl-mode=REQUIRED', '--enable-cleartext-plugin'];
      const args = [...place, ...tls, '--execute=select 1'];
      const result = await runClient(client ?? [], args, await token());
      expect(result).toMatchObject({ code: 0, stdout: '1\n' });
    });
  });

  describe('are refused', () => {
    test.each<[string, Partial<TokenOptions>, string]>([
      ['for another host', { host: 'other.example' }, 'wrong_host'],
      ['for another port', { port: 1 }, 'wrong_port'],
      ['for another user', { user: 'other' }, 'wrong_user'],
      ['that no policy allows', { key: POWERLESS_KEY }, 'not_allowed'],
    ])('%s', async (_name, options, why) => {
      expect(await withMysql2(await token(options))).toBe(
        "1045 Access denied for user 'app'@'%' (using password: YES)",
      );
      expect(await lastFailure()).toMatchObject({ reason: why, user: 'app' });
    });

    test('over plaintext, before anybody is asked for one', async () => {
      expect(await withMysql2(await token(), { isEncrypted: false })).toBe(
        '3159 This RDS Proxy requires TLS connections.',
      );
      await berth().untilLogged((line) => line.reason === 'no_tls' && line.user === 'app');
    });
  });

  test('are what COM_CHANGE_USER takes, too', async () => {
    const place = { host: '127.0.0.1', port: berth().port, database: 'app' };
    const ssl = { rejectUnauthorized: false };
    const other = { user: 'other', password: 'other-password', enableCleartextPlugin: true };
    const connection = await createConnection({ ...place, ...other, ssl });
    await connection.changeUser({ user: 'app', password: await token() });
    const [rows] = await connection.query('select current_user() as name');
    expect(JSON.stringify(rows)).toContain('app@');
    await connection.end();
    const plain = await createConnection({ ...place, ...other });
    const changed = plain.changeUser({ user: 'app', password: await token() });
    refusals++;
    expect(await changed.catch((error: Error) => error.message)).toContain(
      'This RDS Proxy requires TLS connections.',
    );
    expect(await lastFailure()).toMatchObject({ reason: 'no_tls', user: 'app' });
    plain.destroy();
  });
});
