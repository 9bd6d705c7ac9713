/**
 * TLS towards databases: each mode against databases that have TLS, have none, or have the wrong
 * certificate, and answers to SSLRequest that no PostgreSQL gives.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { createServer } from 'node:net';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth } from '../harness/berth.ts';
import { TestAuthority } from '../harness/certificates.ts';
import { makeConfiguration } from '../harness/configuration.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { START_DEADLINE_MS, startPostgres, usePostgres } from '../harness/postgres.ts';
import { useShared } from '../harness/shared.ts';
import { Wiretap } from '../harness/wiretap.ts';

setDefaultTimeout(30_000);

const SCRAM = { hostssl: 'scram-sha-256', hostnossl: 'reject' } as const;
const FAILURES = ['connection.open_failed', 'target.health_changed', 'borrow.failed'];
const CANCEL_CODE = Buffer.from([0x04, 0xd2, 0x16, 0x2e]);

const world = useShared({
  name: 'the databases',
  start: async () => {
    const authority = await TestAuthority.make();
    const stranger = await TestAuthority.make('Stranger');
    const encrypted = await startPostgres({ tls: await authority.issue(), authentication: SCRAM });
    const expired = await startPostgres({ tls: await authority.issue({ validDays: [-9, -2] }) });
    const misnamed = await startPostgres({ tls: await authority.issue({ names: ['other.test'] }) });
    return { authority, stranger, encrypted, expired, misnamed };
  },
  stop: async ({ encrypted, expired, misnamed }) => {
    for (const each of [encrypted, expired, misnamed]) await each.stop();
  },
  deadlineMs: START_DEADLINE_MS,
});
const plain = usePostgres();

type Tls = Readonly<Record<string, unknown>>;

function withTls(database: EmbeddedPostgres, Tls: Tls, port = database.port) {
  const base = makeConfiguration({ database });
  const { authority, stranger } = world();
  const instance = {
    DBInstanceIdentifier: 'orders-db',
    Engine: 'postgres',
    Endpoint: { Address: '127.0.0.1', Port: port },
    Tls,
  };
  return {
    configuration: { ...base, DBInstances: [instance] },
    files: { 'ca.crt': authority.certificate, 'stranger.crt': stranger.certificate },
  };
}

/** Whether a client's session runs over TLS between the proxy and the database. */
async function isEncrypted(berth: Berth): Promise<boolean> {
  using client = await berth.login();
  const sql = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
  return textRows(await client.query(sql))[0]?.[0] === 't';
}

/** Why nobody can log in, as the log says it. */
async function refusal(options: ReturnType<typeof withTls>): Promise<string> {
  await using berth = await Berth.start({ ...options, expect: FAILURES });
  const error = await berth.login().then(
    () => 'the login succeeded',
    (reason: unknown) => String(reason),
  );
  expect(error).toContain('FATAL');
  const [line] = await berth.untilLogged('connection.open_failed');
  return line?.msg ?? '';
}

describe('each mode', () => {
  const good: readonly [name: string, tls: Tls][] = [
    ['the default', {}],
    ['prefer', { Mode: 'prefer' }],
    ['require', { Mode: 'require' }],
    ['require with its authority', { Mode: 'require', CAFile: 'ca.crt' }],
    ['verify-ca', { Mode: 'verify-ca', CAFile: 'ca.crt' }],
    ['verify-full', { Mode: 'verify-full', CAFile: 'ca.crt' }],
    ['TLS 1.3 only', { Mode: 'require', MinProtocolVersion: 'TLSv1.3' }],
    ['TLS 1.0 allowed', { Mode: 'require', MinProtocolVersion: 'TLSv1' }],
  ];
  for (const [name, tls] of good) {
    test(`${name}: encrypted when the database has TLS`, async () => {
      await using berth = await Berth.start(withTls(world().encrypted, tls));
      expect(await isEncrypted(berth)).toBe(true);
      expect(await berth.metric('database_connections_with_tls')).toBe(1);
      expect(await berth.metric('database_connection_requests_with_tls')).toBe(1);
    });
  }

  for (const tls of [{ Mode: 'prefer' }, { Mode: 'disable' }]) {
    test(`${tls.Mode}: plain text when the database has no TLS`, async () => {
      await using berth = await Berth.start(withTls(plain(), tls));
      expect(await isEncrypted(berth)).toBe(false);
      expect(await berth.metric('database_connections_with_tls')).toBe(0);
    });
  }

  test('disable: TLS is not even asked for', async () => {
    expect(await refusal(withTls(world().encrypted, { Mode: 'disable' }))).toContain('pg_hba.conf');
  });

  test.each([['require'], ['verify-full']])(
    '%s: refused when the database has no TLS',
    async (Mode) => {
      expect(await refusal(withTls(plain(), { Mode }))).toContain('has no TLS');
    },
  );
});

describe('certificates that are not good enough', () => {
  test('an authority that is not ours: nobody is let through but by prefer and require', async () => {
    const { encrypted } = world();
    const CAFile = 'stranger.crt';
    for (const Mode of ['require', 'verify-ca', 'verify-full']) {
      expect(await refusal(withTls(encrypted, { Mode, CAFile }))).toContain('is not trusted');
    }
    // The public authorities have not signed it either.
    expect(await refusal(withTls(encrypted, { Mode: 'verify-full' }))).toContain('is not trusted');
  });

  test('another name: refused by verify-full only', async () => {
    const { misnamed } = world();
    const CAFile = 'ca.crt';
    const why = await refusal(withTls(misnamed, { Mode: 'verify-full', CAFile }));
    expect(why).toContain('127.0.0.1');
    for (const tls of [{ Mode: 'verify-ca', CAFile }, { Mode: 'require' }]) {
      await using berth = await Berth.start(withTls(misnamed, tls));
      expect(await isEncrypted(berth)).toBe(true);
    }
  });

  test('expired: refused when it is looked at', async () => {
    const { expired } = world();
    for (const Mode of ['verify-ca', 'verify-full']) {
      const why = await refusal(withTls(expired, { Mode, CAFile: 'ca.crt' }));
      expect(why).toContain('expired');
    }
    await using berth = await Berth.start(withTls(expired, { Mode: 'require' }));
    expect(await isEncrypted(berth)).toBe(true);
  });
});

describe('what goes over the wire', () => {
  test('logins, the monitor and cancels all begin with SSLRequest', async () => {
    const { encrypted } = world();
    const wiretap = await Wiretap.start(encrypted.port);
    await using berth = await Berth.start(withTls(encrypted, { Mode: 'require' }, wiretap.port));
    using client = await berth.login();
    await client.query('begin');
    client.send(frontend.query('select 1 from pg_sleep(60)'));
    await untilMetric(berth, 'database_connections_currently_in_transaction', 1);
    await client.cancel();
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
    await client.query('rollback');
    const sent = wiretap.sentByClients();
    expect(sent.length).toBeGreaterThanOrEqual(3);
    for (const bytes of sent) {
      expect(bytes.subarray(0, 8)).toEqual(frontend.sslRequest());
      expect(bytes.includes(CANCEL_CODE)).toBe(false);
      expect(bytes.includes('app')).toBe(false);
    }
    wiretap.stop();
  });

  test('a large result, and large requests', async () => {
    await using berth = await Berth.start(withTls(world().encrypted, { Mode: 'require' }));
    using client = await berth.login({ tls: {} });
    const rows = textRows(
      await client.query("select repeat('x', 100000) from generate_series(1, 100)"),
    );
    expect(rows).toHaveLength(100);
    expect(rows.every(([value]) => value?.length === 100_000)).toBe(true);
    const long = 'y'.repeat(3_000_000);
    expect(textRows(await client.query(`select length('${long}')`))).toEqual([['3000000']]);
  });
});

describe('answers to SSLRequest that are no good', () => {
  /** A database that says this to SSLRequest, and `behind` and the end when it is told anything else. */
  async function refusalOf(answer: Buffer | undefined, behind = Buffer.alloc(0)): Promise<string> {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.once('data', () => {
        if (answer === undefined) socket.end();
        else socket.write(answer, () => socket.once('data', () => socket.end(behind)));
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const base = withTls(plain(), { Mode: 'require' }, port);
    const berth = await Berth.start({ ...base, expect: FAILURES });
    const login = berth.login().catch(() => undefined);
    const [line] = await berth.untilLogged('connection.open_failed');
    await berth.stop();
    await login;
    await new Promise<void>((resolve) => server.close(() => resolve()));
    return line?.msg ?? '';
  }

  test('PG-01 bytes behind the S are not taken for encrypted ones', async () => {
    const ready = Buffer.from('SR\0\0\0\x08\0\0\0\0Z\0\0\0\x05I', 'latin1');
    expect(await refusalOf(ready)).toContain('unencrypted data');
  });

  test('an error in the middle of the handshake, as of a server that ends us there, is not for good', async () => {
    const killed = Buffer.from('E\0\0\0\x0cSFATAL\0\0', 'latin1');
    const line = await refusalOf(Buffer.from('S'), killed);
    expect(line).toContain('something that is not TLS');
    expect(line).toContain('the proxy tries again');
  });

  test.each([
    ['an error', Buffer.from('ESFATAL\0\0'), 'answered the request for TLS with an error'],
    ['something else', Buffer.from('H'), 'does not speak'],
    ['the end', undefined, 'closed the connection when it was asked for TLS'],
    ['S and then the end', Buffer.from('S'), 'closed the connection during the TLS handshake'],
  ])('%s', async (_name, answer, why) => {
    expect(await refusalOf(answer)).toContain(why);
  });
});

describe('a client certificate', () => {
  test('is shown to a database that asks', async () => {
    const { authority } = world();
    const shown = await authority.issue({ commonName: 'berth' });
    const database = await startPostgres({
      tls: { ...(await authority.issue()), clientCa: authority.certificate },
    });
    const tls = { Mode: 'require', CertificateFile: 'berth.crt', PrivateKeyFile: 'berth.key' };
    const options = withTls(database, tls);
    const files = { 'berth.crt': shown.certificate, 'berth.key': shown.privateKey };
    {
      await using berth = await Berth.start({ ...options, files: { ...options.files, ...files } });
      using client = await berth.login();
      const sql = 'select client_dn from pg_stat_ssl where pid = pg_backend_pid()';
      expect(textRows(await client.query(sql))).toEqual([['/CN=berth']]);
    }
    await database.stop();
  });
});

describe('a reload', () => {
  test('with another mode replaces the connections, and disconnects nobody', async () => {
    const database = await startPostgres({ tls: await world().authority.issue() });
    {
      const options = withTls(database, { Mode: 'disable' });
      await using berth = await Berth.start(options);
      using client = await berth.login();
      const ssl = 'select ssl from pg_stat_ssl where pid = pg_backend_pid()';
      expect(textRows(await client.query(ssl))).toEqual([['f']]);
      await client.query('begin');
      const verified = withTls(database, { Mode: 'verify-full', CAFile: 'ca.crt' });
      const { DBInstances } = verified.configuration;
      await berth.reload({ ...berth.configuration, DBInstances });
      expect(textRows(await client.query(ssl))).toEqual([['f']]);
      await client.query('commit');
      expect(textRows(await client.query(ssl))).toEqual([['t']]);
    }
    await database.stop();
  });
});
