/**
 * TLS towards clients: psql with every sslmode, drivers, and raw bytes where a client of good will
 * would not get. Where it can be said, the measure is what a PostgreSQL with TLS does.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { SecureVersion } from 'node:tls';
import pg from 'pg';
import { untilRunning } from '../faults/activity.ts';
import { HostileNetwork } from '../faults/hostile-network.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { TestAuthority } from '../harness/certificates.ts';
import { within } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { psql, runProgram, testWith } from '../harness/programs.ts';
import { type LoginOptions, RawClient } from '../harness/raw-client.ts';
import { useShared } from '../harness/shared.ts';
import { Wiretap } from '../harness/wiretap.ts';

setDefaultTimeout(30_000);

const APP = { user: 'app', database: 'app', password: 'app-password' } as const;
const TLS_APP: LoginOptions = { ...APP, tls: {} };
const ALPN = { ALPNProtocols: ['postgresql'] };

const authorities = useShared({
  name: 'the authorities',
  start: async () => {
    const authority = await TestAuthority.make();
    const stranger = await TestAuthority.make('Stranger');
    return {
      authority,
      stranger,
      server: await authority.issue({ names: ['localhost', '127.0.0.1', 'berth.test'] }),
      client: await authority.issue({ commonName: 'app' }),
      unknownClient: await stranger.issue({ commonName: 'app' }),
    };
  },
  stop: async () => undefined,
  deadlineMs: START_DEADLINE_MS,
});
const database = usePostgres();

/** With a certificate of `authority`. */
const berth = useBerth(() => ({
  database: database(),
  file: { Tls: { CertificateFile: 'server.crt', PrivateKeyFile: 'server.key' } },
  files: serverFiles(),
  expect: [
    'client.tls_failed',
    (line) => line.event === 'client.closed' && line.reason === 'protocol_violation',
  ],
}));

function serverFiles() {
  const { authority, server } = authorities();
  const { certificate, privateKey } = server;
  return { 'server.crt': certificate, 'server.key': privateKey, 'ca.crt': authority.certificate };
}

function file(name: string): string {
  return join(dirname(berth().configurationFile), name);
}

describe('psql behaves as against a server', () => {
  const CA = () => ({ PGSSLROOTCERT: file('ca.crt') });
  const modes: readonly [name: string, environment: () => Record<string, string>, ssl: boolean][] =
    [
      ['disable', () => ({ PGSSLMODE: 'disable' }), false],
      ['allow', () => ({ PGSSLMODE: 'allow' }), false],
      ['prefer', () => ({ PGSSLMODE: 'prefer' }), true],
      ['require', () => ({ PGSSLMODE: 'require' }), true],
      ['verify-ca', () => ({ PGSSLMODE: 'verify-ca', ...CA() }), true],
      ['verify-full', () => ({ PGSSLMODE: 'verify-full', ...CA() }), true],
      [
        'require, with SCRAM bound to the channel',
        () => ({ PGSSLMODE: 'require', PGCHANNELBINDING: 'require' }),
        true,
      ],
      [
        'TLS 1.2, with SCRAM bound to the channel',
        () => ({
          PGSSLMODE: 'require',
          PGCHANNELBINDING: 'require',
          PGSSLMAXPROTOCOLVERSION: 'TLSv1.2',
        }),
        true,
      ],
      [
        'require, without channel binding',
        () => ({ PGSSLMODE: 'require', PGCHANNELBINDING: 'disable' }),
        true,
      ],
    ];
  for (const [name, environment, hasTls] of modes) {
    testWith('psql', `sslmode ${name}`, async () => {
      const { stdout, stderr } = await psql('select 1;\n\\conninfo\n', {
        port: berth().port,
        host: 'localhost',
        environment: environment(),
      });
      expect(stderr).toBe('');
      expect(stdout).toStartWith('1\n');
      expect(stdout.includes('SSL connection (protocol: TLSv1.')).toBe(hasTls);
    });
  }

  testWith('psql', 'verify-full refuses a name that is not in the certificate', async () => {
    const environment = { PGSSLMODE: 'verify-full', PGHOSTADDR: '127.0.0.1', ...CA() };
    const { code, stderr } = await psql('select 1', {
      port: berth().port,
      host: 'other.test',
      environment,
    });
    expect(code).toBe(2);
    expect(stderr).toContain('does not match host name "other.test"');
  });

  testWith('psql', 'verify-ca refuses an authority that it does not know', async () => {
    const root = berth().writeFile('stranger.crt', authorities().stranger.certificate);
    const environment = { PGSSLMODE: 'verify-ca', PGSSLROOTCERT: file(root) };
    const { code, stderr } = await psql('select 1', { port: berth().port, environment });
    expect(code).toBe(2);
    expect(stderr).toContain('certificate verify failed');
    await berth().untilLogged('client.tls_failed');
  });
});

describe('SCRAM is bound to certificates of every kind', () => {
  // RFC 5929: the hash of the certificate is that of its signature.
  for (const algorithm of ['ECDSA with SHA-384', 'RSA with SHA-512'] as const) {
    testWith('psql', algorithm, async () => {
      const authority = await TestAuthority.make('Other', algorithm);
      const { certificate, privateKey } = await authority.issue();
      await using own = await Berth.start({
        database: database(),
        file: { Tls: { CertificateFile: 'server.crt', PrivateKeyFile: 'server.key' } },
        files: { 'server.crt': certificate, 'server.key': privateKey },
      });
      const environment = { PGSSLMODE: 'require', PGCHANNELBINDING: 'require' };
      const { stdout, stderr } = await psql('select 1', { port: own.port, environment });
      expect({ stdout, stderr }).toEqual({ stdout: '1\n', stderr: '' });
    });
  }
});

describe('node-postgres', () => {
  test('with the authority and the name checked, and a large result', async () => {
    const client = new pg.Client({
      host: 'localhost',
      port: berth().port,
      ...APP,
      ssl: { ca: authorities().authority.certificate },
    });
    await client.connect();
    const { rows } = await client.query(
      "select repeat('x', 1000) as x from generate_series(1, 2000)",
    );
    expect(rows).toHaveLength(2000);
    await client.end();
  });

  test('refuses a certificate whose authority it does not know', async () => {
    const ssl = { ca: authorities().stranger.certificate };
    const client = new pg.Client({ host: 'localhost', port: berth().port, ...APP, ssl });
    await expect(client.connect()).rejects.toThrow(/certificate/);
  });
});

describe('requests for TLS', () => {
  test('PG-01 bytes behind SSLRequest in the same segment end the connection', async () => {
    using client = await RawClient.connect({ port: berth().port });
    client.send(frontend.sslRequest(), frontend.startup(APP));
    const messages = await client.untilClosed();
    expect(sqlStates(messages)).toEqual(['08P01']);
  });

  test('PG-01 a whole handshake behind SSLRequest is not taken either', async () => {
    using client = await RawClient.connect({ port: berth().port });
    client.send(frontend.sslRequest(), Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]));
    expect(sqlStates(await client.untilClosed())).toEqual(['08P01']);
  });

  test('PG-02 neither kind of encryption can be asked for inside TLS', async () => {
    for (const request of [frontend.sslRequest(), frontend.gssEncRequest()]) {
      using client = await RawClient.connect({ port: berth().port });
      await client.startTls();
      client.send(request);
      expect(sqlStates(await client.untilClosed())).toEqual(['08P01']);
    }
  });

  test('PG-02 SSLRequest may follow a refused GSSENCRequest', async () => {
    using client = await RawClient.connect({ port: berth().port });
    expect(await client.requestEncryption(frontend.gssEncRequest())).toBe('N');
    await client.startTls();
    await client.logIn(APP);
  });

  test('PG-03 TLS at once, with the protocol named', async () => {
    using client = await RawClient.connect({ port: berth().port });
    const socket = await client.handshake(ALPN);
    expect(socket.alpnProtocol).toBe('postgresql');
    await client.logIn(APP);
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  });

  test('PG-03 TLS at once is refused with another protocol, and with none', async () => {
    using other = await RawClient.connect({ port: berth().port });
    await expect(other.handshake({ ALPNProtocols: ['http/1.1'] })).rejects.toThrow();
    using none = await RawClient.connect({ port: berth().port });
    await none.handshake();
    none.send(frontend.startup(APP));
    expect(await none.untilClosed()).toEqual([]);
  });

  test('PG-03 TLS at once must be the first thing', async () => {
    using client = await RawClient.connect({ port: berth().port });
    expect(await client.requestEncryption(frontend.gssEncRequest())).toBe('N');
    await expect(client.handshake(ALPN)).rejects.toThrow();
  });

  test('SSLRequest with the protocol named as well, as libpq 17 does', async () => {
    using client = await RawClient.connect({ port: berth().port });
    const socket = await client.startTls(ALPN);
    expect(socket.alpnProtocol).toBe('postgresql');
    await client.logIn(APP);
  });
});

describe('handshakes that fail', () => {
  test('PG-18 garbage closes the connection', async () => {
    using client = await RawClient.connect({ port: berth().port });
    expect(await client.requestEncryption(frontend.sslRequest())).toBe('S');
    const failures = berth().logged('client.tls_failed').length;
    client.socket.write('GET / HTTP/1.1\r\n\r\n');
    client.socket.removeAllListeners('data').resume();
    await client.untilClosed();
    await berth().untilLogged('client.tls_failed', failures + 1);
  });

  test.each([['close'], ['reset']] as const)(
    'PG-18 %s in the handshake is no failure of ours',
    async (how) => {
      const gone = (line: { event: string; reason?: unknown }) =>
        line.event === 'client.closed' && line.reason === 'client_gone';
      const before = berth().logged(gone).length;
      const client = await RawClient.connect({ port: berth().port });
      await client.requestEncryption(frontend.sslRequest());
      client.socket.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
      if (how === 'close') client.socket.end();
      else client.reset();
      await berth().untilLogged(gone, before + 1);
    },
  );

  test('TLS 1.1 is refused', async () => {
    using client = await RawClient.connect({ port: berth().port });
    const old = { minVersion: 'TLSv1', maxVersion: 'TLSv1.1' } as const;
    await expect(client.startTls(old)).rejects.toThrow();
  });
});

describe('a session over TLS', () => {
  test('is counted', async () => {
    await untilMetric(berth(), 'client_connections_tls', 0);
    const before = await berth().metric('query_requests_tls');
    const plainBefore = await berth().metric('query_requests_no_tls');
    using client = await berth().login(TLS_APP);
    using plain = await berth().login();
    await untilMetric(berth(), 'client_connections_tls', 1);
    await client.query('select 1');
    await plain.query('select 1');
    await plain.query('select 1');
    expect(await berth().metric('query_requests_tls')).toBe(before + 1);
    expect(await berth().metric('query_requests_no_tls')).toBe(plainBefore + 2);
    await client.end();
    await untilMetric(berth(), 'client_connections_tls', 0);
  });

  test('PG-71 cancels, over TLS and without', async () => {
    using client = await berth().login(TLS_APP);
    for (const hasTls of [true, false]) {
      await client.query('begin');
      client.send(frontend.query('select 1 from pg_sleep(60)'));
      await untilRunning(database(), 'pg_sleep(60)');
      await client.cancel(client.backendSecret, hasTls);
      expect(sqlStates(await client.untilReady())).toEqual(['57014']);
      await client.query('rollback');
    }
  });

  test('every byte alone, in both directions', async () => {
    await using network = await HostileNetwork.start(berth().port);
    network.plan = () => ({ pieceBytes: 1 });
    using client = await RawClient.login({ port: network.port }, TLS_APP);
    expect(textRows(await client.query("select repeat('y', 3000)"))).toEqual([['y'.repeat(3000)]]);
    client.send(frontend.query('select 1'), frontend.query('select 2'));
    expect(textRows(await client.untilReady(2))).toEqual([['1'], ['2']]);
  });

  test('a reset in the middle is only the end of that client', async () => {
    const client = await berth().login(TLS_APP);
    client.send(frontend.query("select repeat('x', 1000000) from generate_series(1, 50)"));
    await client.next();
    client.reset();
    await untilMetric(berth(), 'client_connections_tls', 0);
    await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
  });

  test('no record is larger than 8 KiB (PG-18)', async () => {
    const wiretap = await Wiretap.start(berth().port);
    using client = await RawClient.login({ port: wiretap.port }, TLS_APP);
    await client.query("select repeat('x', 1000) from generate_series(1, 500)");
    const sizes = wiretap.recordSizes();
    wiretap.stop();
    const overhead = 256;
    expect(Math.max(...sizes)).toBeGreaterThan(4096);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(8192 + overhead);
  });
});

describe('RequireTLS', () => {
  const strict = useBerth(() => ({
    database: database(),
    proxy: { RequireTLS: true },
  }));

  test('refuses who did not ask for TLS, and only them', async () => {
    using plain = await RawClient.connect({ port: strict().port });
    plain.send(frontend.startup(APP));
    const [error] = await plain.untilClosed();
    expect(sqlStates(error === undefined ? [] : [error])).toEqual(['28000']);
    expect(error?.body.toString()).toContain('This RDS Proxy requires TLS connections.');
    using client = await strict().login(TLS_APP);
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  });

  testWith('psql', 'psql prefers TLS by itself', async () => {
    const { stdout } = await psql('select 1', { port: strict().port });
    expect(stdout).toBe('1\n');
  });
});

describe('client certificates', () => {
  const withCa = (ClientCertificate: string) => ({
    database: database(),
    file: {
      Tls: {
        CertificateFile: 'server.crt',
        PrivateKeyFile: 'server.key',
        ClientCAFile: 'ca.crt',
        ClientCertificate,
      },
    },
    files: serverFiles(),
    expect: ['client.tls_failed'],
  });
  const optional = useBerth(() => withCa('OPTIONAL'));
  const required = useBerth(() => withCa('REQUIRED'));
  const shown = ({
    certificate: cert,
    privateKey: key,
  }: ReturnType<typeof authorities>['client']) => ({
    ...APP,
    tls: { cert, key },
  });

  for (const [kind, versions] of [
    ['TLS 1.3', {}],
    ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
  ] as const) {
    test(`PG-18 ${kind}: optional, none is fine, a good one too, a bad one is not`, async () => {
      const { client, unknownClient } = authorities();
      for (const options of [TLS_APP, shown(client)]) {
        using session = await optional().login({
          ...options,
          tls: { ...options.tls, ...versions },
        });
        expect(textRows(await session.query('select 1'))).toEqual([['1']]);
      }
      const bad = shown(unknownClient);
      await expect(optional().login({ ...bad, tls: { ...bad.tls, ...versions } })).rejects.toThrow(
        'connection requires a valid client certificate',
      );
    });

    test(`${kind}: no session is resumed, for a client has to show its certificate each time`, async () => {
      const resumed: boolean[] = [];
      let ticket: Buffer | undefined;
      for (let round = 0; round < 2; round++) {
        using client = await RawClient.connect({ port: optional().port });
        const socket = await client.startTls({ ...versions, ...(ticket && { session: ticket }) });
        resumed.push(socket.isSessionReused());
        ticket = socket.getSession();
        socket.on('session', (session: Buffer) => {
          ticket = session;
        });
        await client.logIn(APP);
        await client.query('select 1');
      }
      expect(resumed).toEqual([false, false]);
    });

    test(`${kind}: required, only a good one is fine, and in plain text nobody comes by`, async () => {
      const { client, unknownClient } = authorities();
      const good = shown(client);
      using session = await required().login({ ...good, tls: { ...good.tls, ...versions } });
      expect(textRows(await session.query('select 1'))).toEqual([['1']]);
      for (const options of [TLS_APP, shown(unknownClient)]) {
        const refused = required().login({ ...options, tls: { ...options.tls, ...versions } });
        await expect(refused).rejects.toThrow('connection requires a valid client certificate');
      }
      await expect(required().login()).rejects.toThrow('requires TLS');
    });
  }
});

/** Logs in over TLS, with the ticket if one is given. Returns the next ticket. */
async function visit(
  port: number,
  version: SecureVersion,
  ticket?: Buffer,
): Promise<{ isResumed: boolean; ticket: Buffer; name: string }> {
  using client = await RawClient.connect({ port });
  const options = { minVersion: version, maxVersion: version };
  const socket = await client.startTls(ticket ? { ...options, session: ticket } : options);
  const next = Promise.withResolvers<Buffer>();
  socket.on('session', next.resolve);
  const isResumed = socket.isSessionReused();
  await client.logIn(APP);
  expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  const name: unknown = socket.getPeerCertificate().subject?.CN;
  // TLS 1.2 brings its ticket in the handshake; a resumed session may bring none.
  const known = version === 'TLSv1.2' || isResumed ? socket.getSession() : undefined;
  const kept = known ?? (await within(next.promise, 'a ticket'));
  return { isResumed, ticket: kept, name: typeof name === 'string' ? name : '' };
}

describe('PG-18: session tickets', () => {
  test.each(['TLSv1.2', 'TLSv1.3'] as const)('%s: a session is resumed', async (version) => {
    const first = await visit(berth().port, version);
    expect(first.isResumed).toBe(false);
    const second = await visit(berth().port, version, first.ticket);
    expect(second.isResumed).toBe(true);
    expect((await visit(berth().port, version, second.ticket)).isResumed).toBe(true);
  });

  test.each(['TLSv1.2', 'TLSv1.3'] as const)(
    '%s: one from before a new certificate is not, and its client sees the new one',
    async (version) => {
      const renewed = await authorities().authority.issue({ commonName: 'renewed' });
      await using own = await Berth.start({
        database: database(),
        file: { Tls: { CertificateFile: 'server.crt', PrivateKeyFile: 'server.key' } },
        files: serverFiles(),
      });
      const { ticket } = await visit(own.port, version);
      own.writeFile('server.crt', renewed.certificate);
      own.writeFile('server.key', renewed.privateKey);
      await own.reload(own.configuration);
      const after = await visit(own.port, version, ticket);
      expect(after).toMatchObject({ isResumed: false, name: 'renewed' });
      expect((await visit(own.port, version, after.ticket)).isResumed).toBe(true);
    },
  );

  for (const version of ['-tls1_2', '-tls1_3']) {
    testWith('openssl', `openssl resumes a session: ${version}`, async () => {
      const file = join(dirname(berth().configurationFile), `session${version}`);
      const handshake = async (keep: string) => {
        const words = ['s_client', '-starttls', 'postgres', version, '-ign_eof', keep, file];
        const args = [...words, '-connect', `127.0.0.1:${berth().port}`];
        // A protocol that nobody speaks: the answer brings the ticket, and then it is over.
        const input = '\0\0\0\x09\0\x01\0\0\0';
        return (await runProgram('openssl', args, { port: berth().port, input })).stdout;
      };
      expect(await handshake('-sess_out')).toContain('\nNew, TLSv1.');
      expect(await handshake('-sess_in')).toContain('\nReused, TLSv1.');
    });
  }
});

describe('a new certificate', () => {
  test('PG-18 is for those who come; who is there stays, and so do the database connections', async () => {
    const { authority } = authorities();
    const renewed = await authority.issue({ commonName: 'renewed' });
    await using own = await Berth.start({
      database: database(),
      file: { Tls: { CertificateFile: 'server.crt', PrivateKeyFile: 'server.key' } },
      files: serverFiles(),
    });
    using before = await own.login(TLS_APP);
    const pid = textRows(await before.query('select pg_backend_pid()'));
    await own.reload(own.configuration);
    expect(textRows(await before.query('select pg_backend_pid()'))).toEqual(pid);
    own.writeFile('server.crt', renewed.certificate);
    own.writeFile('server.key', renewed.privateKey);
    await own.reload(own.configuration);
    expect(textRows(await before.query('select pg_backend_pid()'))).toEqual(pid);
    using after = await RawClient.connect({ port: own.port });
    const socket = await after.startTls();
    expect(socket.getPeerCertificate().subject.CN).toBe('renewed');
    await after.logIn(APP);
    expect(textRows(await after.query('select pg_backend_pid()'))).toEqual(pid);
  });

  test('that does not fit its key is refused, and the one before stays', async () => {
    const { stranger } = authorities();
    await using own = await Berth.start({
      database: database(),
      file: { Tls: { CertificateFile: 'server.crt', PrivateKeyFile: 'server.key' } },
      files: serverFiles(),
      expect: ['configuration.refused'],
    });
    own.writeFile('server.crt', (await stranger.issue()).certificate);
    own.signal('SIGHUP');
    const [line] = await own.untilLogged('configuration.refused');
    expect(line?.msg).toContain('Tls.PrivateKeyFile: must be the key of the certificate');
    using client = await own.login(TLS_APP);
    expect(textRows(await client.query('select 1'))).toEqual([['1']]);
  });
});

describe('without a certificate', () => {
  test('an authority is made, with modes that keep it private, and kept over restarts', async () => {
    const authorities: string[] = [];
    const first = await Berth.start({ database: database() });
    const state = `${dirname(first.configurationFile)}-state`;
    await first.stop();
    for (let round = 0; round < 2; round++) {
      await using own = await Berth.start({
        database: database(),
        file: { StateDirectory: state },
      });
      using client = await RawClient.connect({ port: own.port });
      const socket = await client.startTls();
      const authority = readFileSync(join(state, 'ca.crt'), 'utf8');
      authorities.push(authority);
      const shown = new X509Certificate(socket.getPeerCertificate().raw);
      expect(shown.subjectAltName).toContain('DNS:localhost');
      expect(shown.verify(new X509Certificate(authority).publicKey)).toBe(true);
    }
    expect(authorities[0]).toBe(authorities[1] ?? '');
    expect(statSync(state).mode & 0o777).toBe(0o700);
    for (const name of ['ca.pem', 'ca.crt']) {
      expect(statSync(join(state, name)).mode & 0o777).toBe(0o600);
    }
    expect(authorities[0]).not.toContain('PRIVATE KEY');
  });
});
