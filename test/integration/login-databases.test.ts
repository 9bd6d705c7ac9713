/**
 * The proxy logs in to a database: every way that PostgreSQL asks for a password, what passes by
 * itself and what does not, and databases that a real PostgreSQL cannot be made to be.
 */

import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, type BerthOptions, type LogLine, useBerth } from '../harness/berth.ts';
import { type Configuration, makeConfiguration, type TestUser } from '../harness/configuration.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { addressOf, adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';
import {
  AUTHENTICATION_OK,
  authentication,
  fields,
  keyData,
  parameterStatus,
  READY,
  type Script,
  ScriptedDatabase,
  type ScriptedSession,
  saslMechanisms,
  selected,
  welcome,
} from '../harness/scripted-database.ts';
import { useShared } from '../harness/shared.ts';

setDefaultTimeout(30_000);

/** The longest that PostgreSQL takes: with its terminator and its length PG_MAX_AUTH_TOKEN_LENGTH bytes. */
const LARGE_PASSWORD = 'x'.repeat(65_530);

const USERS = [
  { name: 'app', password: 'app-password', method: 'scram-sha-256' },
  { name: 'md5_user', password: 'md5-password', method: 'md5', passwordEncryption: 'md5' },
  { name: 'clear', password: 'clear-password', method: 'password' },
  { name: 'trusted', password: 'never-asked-for', method: 'trust' },
  { name: 'large', password: LARGE_PASSWORD, method: 'password' },
  { name: 'large_scram', password: LARGE_PASSWORD, method: 'scram-sha-256' },
] as const;

const database = usePostgres({
  users: USERS,
  databases: [{ name: 'app' }],
  authentication: { local: 'md5' },
});

/** What a test started, stopped even when it fails: the proxies, their logs judged, then databases. */
const berths: Berth[] = [];
const databases: ScriptedDatabase[] = [];

async function start(options: BerthOptions): Promise<Berth> {
  const berth = await Berth.start(options);
  berths.push(berth);
  return berth;
}

async function play(script: Script): Promise<ScriptedDatabase> {
  const scripted = await ScriptedDatabase.start(script);
  databases.push(scripted);
  return scripted;
}

afterEach(async () => {
  for (const berth of berths.splice(0)) await berth.stop();
  for (const scripted of databases.splice(0)) await scripted.stop();
});

describe.each([{ way: 'TCP' }, { way: 'a Unix socket' }])('over $way', ({ way }) => {
  test('SCRAM, MD5, cleartext and trust, and PG-13 passwords of 64 KiB', async () => {
    const berth = await start({
      database: database(),
      users: USERS,
      viaSocket: way === 'a Unix socket',
      pool: { MaxConnections: 20 },
    });
    for (const { name, password } of USERS) {
      using client = await berth.login({ user: name, password });
      const rows = textRows(await client.query('SELECT current_user, current_database()'));
      expect(rows).toEqual([[name, 'app']]);
    }
    await berth.untilLogged('connection.opened', USERS.length);
  });
});

describe('what passes by itself', () => {
  const UNAVAILABLE = ['connection.open_failed', 'target.health_changed'] as const;
  const LOST = (line: LogLine) => line.reason === 'database_closed';

  test('PG-19 a database that starts after the proxy: clients wait and are served', async () => {
    await database().shutDown();
    const berth = await start({ database: database(), users: USERS, expect: UNAVAILABLE });
    const waiting = [1, 2, 3].map(() => berth.login());
    await untilMetric(berth, 'berth_borrow_queue_depth', 1);
    await berth.untilLogged(
      (line) => line.event === 'connection.open_failed' && line.level === 'warn',
    );
    await database().startUp();
    for (const client of await Promise.all(waiting)) {
      expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
      await client.end();
    }
  });

  test('PG-19 a restart under waiting clients: their requests wait and are answered', async () => {
    const expected = [...UNAVAILABLE, LOST];
    const berth = await start({ database: database(), users: USERS, expect: expected });
    const clients = await Promise.all([1, 2, 3].map(() => berth.login()));
    for (const client of clients) await client.query('SELECT 1');
    await database().shutDown();
    await untilMetric(berth, 'database_connections', 0);
    for (const client of clients) client.send(frontend.query('SELECT 2'));
    await untilMetric(berth, 'berth_borrow_queue_depth', 3);
    await berth.untilLogged('connection.open_failed');
    await database().startUp();
    for (const client of clients) expect(textRows(await client.untilReady())).toEqual([['2']]);
    expect(berth.logged(({ event, reason }) => event === 'client.closed' && !!reason)).toEqual([]);
    for (const client of clients) await client.end();
  });

  test('PG-19 a restart between transactions is not seen by idle clients', async () => {
    const expected = [...UNAVAILABLE, LOST];
    const berth = await start({ database: database(), users: USERS, expect: expected });
    using client = await berth.login();
    await client.query('SELECT 1');
    await database().restart();
    expect(textRows(await client.query('SELECT 3'))).toEqual([['3']]);
  });

  test('PG-19 53300 of a role with too many connections is waited out', async () => {
    const expected = ['connection.open_failed'];
    const berth = await start({ database: database(), users: USERS, expect: expected });
    await adminQuery(database(), 'ALTER ROLE clear CONNECTION LIMIT 0');
    const login = berth.login({ user: 'clear', password: 'clear-password' });
    const [line] = await berth.untilLogged('connection.open_failed');
    expect(line?.msg).toContain('53300');
    expect(line?.level).toBe('warn');
    await adminQuery(database(), 'ALTER ROLE clear CONNECTION LIMIT -1');
    using client = await login;
    expect(textRows(await client.query('SELECT current_user'))).toEqual([['clear']]);
  });

  for (const sqlState of ['57P03', '53300', '57P01', '53400']) {
    test(`PG-19 ${sqlState} at login is waited out`, async () => {
      let tries = 0;
      const scripted = await play(async (session) => {
        if (++tries <= 2) {
          session.send(fields('E', 'SFATAL', 'VFATAL', `C${sqlState}`, 'Mnot now'));
          session.end();
          return;
        }
        session.send(...welcome());
        await session.answerQueries(() => selected(['served']));
      });
      const berth = await startBefore(scripted, ['connection.open_failed']);
      using client = await berth.login();
      expect(textRows(await client.query('SELECT 1'))).toEqual([['served']]);
      const failures = await berth.untilLogged('connection.open_failed', 2);
      expect(failures.map(({ level }) => level)).toEqual(['warn', 'warn']);
    });
  }

  test('PG-19 a database that closes without a word is tried again', async () => {
    let tries = 0;
    const scripted = await play(async (session) => {
      if (++tries === 1) {
        session.end();
        return;
      }
      session.send(...welcome());
      await session.answerQueries(() => selected(['served']));
    });
    const berth = await startBefore(scripted, ['connection.open_failed']);
    using client = await berth.login();
    expect(textRows(await client.query('SELECT 1'))).toEqual([['served']]);
  });
});

describe('what somebody has to mend', () => {
  const FAILURES = ['connection.open_failed', 'target.health_changed', 'borrow.failed'] as const;

  test('PG-19 an unknown database: the bytes of a direct connection', async () => {
    const berth = await start({ database: database(), users: USERS, expect: FAILURES });
    const options = { user: 'app', password: 'app-password', database: 'nowhere' };
    const direct = await refusal(RawClient.login(addressOf(database()), options));
    const proxied = await refusal(berth.login(options));
    expect(direct.sqlState).toBe('3D000');
    expect(proxied.message).toBe(direct.message);
    // The log does not say that the database is away: it has answered.
    const [line] = await berth.untilLogged('borrow.failed');
    expect(line?.msg).toContain(
      'The database says: database "nowhere" does not exist (SQLSTATE 3D000).',
    );
    expect(line?.msg).not.toContain('not reachable');
  });

  test('PG-19 a database that the user may not enter: the bytes of a direct connection', async () => {
    await adminQuery(database(), 'CREATE DATABASE closed');
    await adminQuery(database(), 'REVOKE CONNECT ON DATABASE closed FROM PUBLIC');
    const berth = await start({ database: database(), users: USERS, expect: FAILURES });
    const options = { user: 'clear', password: 'clear-password', database: 'closed' };
    const direct = await refusal(RawClient.login(addressOf(database()), options));
    const proxied = await refusal(berth.login(options));
    expect(direct.sqlState).toBe('42501');
    expect(proxied.message).toBe(direct.message);
  });

  test('a wrong password in the secret is told at once, with what to look at, and logged', async () => {
    const users: TestUser[] = [{ name: 'app', password: 'wrong-in-secret' }];
    const berth = await start({ database: database(), users, expect: FAILURES });
    const startedAt = performance.now();
    const error = await refusal(berth.login({ password: 'wrong-in-secret' }));
    expect(performance.now() - startedAt).toBeLessThan(3_000);
    expect(error.sqlState).toBe('28000');
    expect(error.fields.get('M')).toBe(
      'The database did not accept the credentials that the proxy has for the role app.',
    );
    const [line] = await berth.untilLogged('connection.open_failed');
    expect(line?.level).toBe('error');
    expect(line?.msg).toContain('28P01');
    expect(berth.logText).not.toContain('wrong-in-secret');
  });

  const expiries: readonly (readonly [string, string])[] = [
    ['whose VALID UNTIL has passed', "VALID UNTIL '2001-01-01'"],
    ['that may not log in any more', 'NOLOGIN'],
  ];
  for (const [what, change] of expiries) {
    test(`PG-15 a role ${what}: what is open serves on, nothing new is opened`, async () => {
      const expect28000 = [...FAILURES, (line: LogLine) => line.reason === 'database_closed'];
      const berth = await start({
        database: database(),
        users: USERS,
        pool: { MaxConnections: 2 },
        expect: expect28000,
      });
      const login = { user: 'clear', password: 'clear-password' };
      using inside = await berth.login(login);
      const pid = textRows(await inside.query('SELECT pg_backend_pid()'));
      await adminQuery(database(), `ALTER ROLE clear ${change}`);
      try {
        using late = await berth.login(login);
        expect(textRows(await late.query('SELECT pg_backend_pid()'))).toEqual(pid);
        // The second connection would be a new one: nothing that the proxy remembers opens it.
        await inside.query('BEGIN');
        late.send(frontend.query('SELECT 1'));
        expect(sqlStates(await late.untilClosed())).toEqual(['28000']);
        expect(sqlStates(await inside.query('COMMIT'))).toEqual([]);
        const [line] = await berth.untilLogged('connection.open_failed');
        expect(line?.msg).toContain(change === 'NOLOGIN' ? '28000' : '28P01');
      } finally {
        await adminQuery(database(), "ALTER ROLE clear LOGIN VALID UNTIL 'infinity'");
      }
      using again = await berth.login(login);
      expect(textRows(await again.query('SELECT 1'))).toEqual([['1']]);
    });
  }

  test('PG-16 the same password under another salt: what is opened next logs in', async () => {
    const lost = (line: LogLine) => line.reason === 'database_closed';
    const berth = await start({ database: database(), users: USERS, expect: [lost] });
    using client = await berth.login();
    const pid = 'SELECT pg_backend_pid()';
    let before = textRows(await client.query(pid));
    for (const change of ['', "ALTER ROLE app PASSWORD 'app-password'"]) {
      if (change !== '') await adminQuery(database(), change);
      const { length } = berth.logged('connection.closed');
      const end = `SELECT pg_terminate_backend(${before[0]?.[0]}, 5000)`;
      await adminQuery(database(), end);
      await berth.untilLogged('connection.closed', length + 1);
      const after = textRows(await client.query(pid));
      expect(after).not.toEqual(before);
      before = after;
    }
    expect(berth.logged('connection.open_failed')).toEqual([]);
  });

  test('after the secret is corrected, the next login succeeds', async () => {
    const users: TestUser[] = [{ name: 'app', password: 'wrong-in-secret' }];
    const berth = await start({ database: database(), users, expect: FAILURES });
    await refusal(berth.login({ password: 'wrong-in-secret' }));
    const [secret] = makeConfiguration({ database: database(), users: USERS }).Secrets as unknown[];
    await berth.reload({ ...berth.configuration, Secrets: [secret] });
    using client = await berth.login({ password: 'app-password' });
    expect(textRows(await client.query('SELECT 1'))).toEqual([['1']]);
  });
});

describe('databases that cannot be used', () => {
  const FAILURES = ['connection.open_failed', 'target.health_changed', 'borrow.failed'] as const;
  /** What the database does with who wants to enter the database of this name. */
  const scripts = new Map<string, Script>();
  const scripted = useShared({
    name: 'the scripted database',
    start: () =>
      ScriptedDatabase.start((session) =>
        scripts.get(session.parameters.get('database') ?? '')?.(session),
      ),
    stop: (each) => each.stop(),
    deadlineMs: START_DEADLINE_MS,
  });
  const berth = useBerth(() => ({ ...before(scripted(), 10), expect: FAILURES }));

  /** How a login ends when the database plays this script. */
  async function endOf(name: string, script: Script): Promise<LoginError> {
    scripts.set(name, script);
    return refusal(berth().login({ database: name, deadlineMs: 5_000 }));
  }

  const garbage: Readonly<Record<string, Script>> = {
    'speaks HTTP': (session) => {
      session.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
    },
    'lies about a length': (session) => {
      session.send(Buffer.concat([Buffer.from('R'), frontend.int32(0x7fff_ffff)]));
    },
    'sends a negative length': (session) => {
      session.send(Buffer.concat([Buffer.from('R'), frontend.int32(-1)]));
    },
    'is ready before it authenticated anybody': (session) => {
      session.send(READY);
    },
    'sends rows at login': (session) => {
      session.send(AUTHENTICATION_OK, frontend.message('D', frontend.int16(0)));
    },
  };
  for (const [what, script] of Object.entries(garbage)) {
    test(`PG-11 a database that ${what} is refused at once`, async () => {
      expect((await endOf(what, script)).sqlState).toBe('08001');
      await berth().untilLogged(
        (line) =>
          line.event === 'connection.open_failed' &&
          line.level === 'error' &&
          line.database === what,
      );
    });
  }

  const unverified: Readonly<Record<string, Buffer>> = {
    'knows GSSAPI only': authentication(7),
    'asks in an unknown way': authentication(99),
    'offers no mechanism that we know': saslMechanisms('SCRAM-SHA-1', 'PLAIN'),
    'offers no mechanism': saslMechanisms(),
    'sends half an Authentication message': frontend.message('R', Buffer.of(0, 0)),
    'sends an MD5 salt of 3 bytes': authentication(5, Buffer.alloc(3)),
    'goes on with SASL that was never begun': authentication(11, Buffer.from('r=x,s=eA==,i=1')),
  };
  for (const [what, request] of Object.entries(unverified)) {
    test(`PG-11 a database that ${what}: 28000 and no crash`, async () => {
      expect((await endOf(what, (session) => session.send(request))).sqlState).toBe('28000');
    });
  }

  const serverFirst: Readonly<Record<string, (nonce: string) => string>> = {
    'malformed base64': (nonce) => `r=${nonce}more,s=!!!,i=4096`,
    'no iteration count': (nonce) => `r=${nonce}more,s=c2FsdA==`,
    'no salt': (nonce) => `r=${nonce}more,i=4096`,
    'another nonce': () => 'r=other,s=c2FsdA==,i=4096',
    'iterations of 0': (nonce) => `r=${nonce}more,s=c2FsdA==,i=0`,
    'iterations beyond any bound': (nonce) => `r=${nonce}more,s=c2FsdA==,i=2000000000`,
    'iterations that overflow': (nonce) => `r=${nonce}more,s=c2FsdA==,i=99999999999999999999`,
    'a mandatory extension': (nonce) => `m=x,r=${nonce}more,s=c2FsdA==,i=4096`,
  };
  for (const [what, first] of Object.entries(serverFirst)) {
    test(`PG-13 server-first with ${what}: 28000, soon`, async () => {
      const error = await endOf(what, async (session) => {
        session.send(saslMechanisms('SCRAM-SHA-256'));
        const { body } = await session.until('p');
        const nonce = /r=([^,]+)/.exec(body.toString())?.[1] ?? '';
        session.send(authentication(11, Buffer.from(first(nonce))));
      });
      expect(error.sqlState).toBe('28000');
    });
  }

  test('PG-13 a database that skips the proof of SCRAM is not believed', async () => {
    const error = await endOf('no proof', async (session) => {
      session.send(saslMechanisms('SCRAM-SHA-256'));
      await session.until('p');
      session.send(...welcome());
    });
    expect(error.sqlState).toBe('28000');
  });

  const odd: Readonly<Record<string, Buffer>> = {
    'without SQLSTATE': fields('E', 'SFATAL', 'Mno state'),
    'without any field': fields('E'),
    'with unknown fields': fields('E', 'SFATAL', 'VFATAL', 'C3D000', 'Mgone', 'Zwhat', '1one'),
    'without an end': frontend.message('E', Buffer.from('SFATAL\0C3D000\0Mgone')),
    'with an empty body': frontend.message('E'),
    'with a body of nothing but text': frontend.message('E', Buffer.alloc(1_000, 'x')),
  };
  for (const [what, message] of Object.entries(odd)) {
    test(`PG-14 an ErrorResponse ${what} at login ends the login, not the proxy`, async () => {
      scripts.set(what, (session) => session.send(message));
      using client = await RawClient.connect({ port: berth().port });
      const login = { user: 'app', password: 'app-password', database: what };
      await expect(client.logIn(login)).rejects.toThrow();
      expect(client.received.filter(({ type }) => type === 'E')).toHaveLength(1);
      await client.untilClosed();
      expect(berth().isRunning).toBe(true);
      expect(berth().logged('internal.failed')).toEqual([]);
    });
  }
});

describe('unusual databases', () => {
  test('PG-09 no BackendKeyData: everything works, and a cancel does nothing', async () => {
    const asked = Promise.withResolvers<ScriptedSession>();
    const scripted = await play(async (session) => {
      session.send(AUTHENTICATION_OK, parameterStatus('server_version', '18.0'), READY);
      const { body } = await session.until('Q');
      expect(body.toString()).toBe('SELECT slow\0');
      asked.resolve(session);
    });
    const berth = await startBefore(scripted);
    using client = await berth.login();
    expect(client.backendSecret).toHaveLength(4);
    client.send(frontend.query('SELECT slow'));
    const session = await asked.promise;
    await client.cancel();
    session.send(...selected(['done']));
    expect(textRows(await client.untilReady())).toEqual([['done']]);
    expect(scripted.cancels.all).toEqual([]);
  });

  test('PG-08 a key of 256 bytes from the database, and a client of 3.0', async () => {
    const key = Buffer.from(Array.from({ length: 256 }, (_, index) => index));
    const asked = Promise.withResolvers<ScriptedSession>();
    const scripted = await play(async (session) => {
      session.send(AUTHENTICATION_OK, keyData(99, key), READY);
      await session.until('Q');
      asked.resolve(session);
    });
    const berth = await startBefore(scripted);
    using client = await berth.login();
    expect(client.backendSecret).toHaveLength(4);
    client.send(frontend.query('SELECT slow'));
    const session = await asked.promise;
    await client.cancel();
    const [cancel] = await scripted.cancels.until(
      () => (scripted.cancels.all.length > 0 ? scripted.cancels.all : undefined),
      'the cancel at the database',
    );
    expect(cancel).toEqual(Buffer.concat([frontend.int32(99), key]));
    session.send(fields('E', 'SERROR', 'VERROR', 'C57014', 'Mcanceled'), READY);
    expect(sqlStates(await client.untilReady())).toEqual(['57014']);
  });

  const notice = fields('N', 'SNOTICE', 'VNOTICE', 'C00000', 'Mhello');
  const negotiate = frontend.message('v', frontend.int32(frontend.PROTOCOL_3_0), frontend.int32(0));
  const status = parameterStatus('server_version', '17.9');
  const interleaved = (): Buffer[] => [
    notice,
    negotiate,
    status,
    AUTHENTICATION_OK,
    notice,
    negotiate,
    parameterStatus('server_version', '18.0'),
    notice,
    parameterStatus('is_superuser', 'off'),
    keyData(1, Buffer.alloc(4)),
    notice,
    parameterStatus('TimeZone', 'Asia/Tokyo'),
    READY,
  ];

  test('PG-10 notices, parameters and a negotiation anywhere in the login', async () => {
    const scripted = await play(async (session) => {
      session.send(...interleaved());
      await session.answerQueries(() => selected(['served']));
    });
    const berth = await startBefore(scripted);
    using client = await berth.login();
    expect(Object.fromEntries(client.parameters)).toEqual({
      server_version: '18.0',
      is_superuser: 'off',
      TimeZone: 'Asia/Tokyo',
    });
    expect(textRows(await client.query('SELECT 1'))).toEqual([['served']]);
    // They were for whoever opened the connection, see docs/differences.md.
    expect(client.received.filter(({ type }) => type === 'N' || type === 'v')).toEqual([]);
  });

  test('PG-11 the whole login and an answer, byte by byte', async () => {
    const scripted = await play(async (session) => {
      await session.trickle(authentication(5, Buffer.from('salt')));
      const { body } = await session.until('p');
      expect(body.toString()).toStartWith('md5');
      await session.trickle(...interleaved());
      await session.until('Q');
      await session.trickle(notice, ...selected(['served']));
    });
    const berth = await startBefore(scripted);
    using client = await berth.login();
    expect(client.parameters.get('TimeZone')).toBe('Asia/Tokyo');
    const messages = await client.query('SELECT 1');
    expect(messages.map(({ type }) => type)).toEqual(['N', 'T', 'D', 'C', 'Z']);
  });

  test('PG-11 a login message of 60 KB', async () => {
    const value = 'x'.repeat(60_000);
    const scripted = await play(async (session) => {
      session.send(AUTHENTICATION_OK, parameterStatus('search_path', value));
      session.send(keyData(1, Buffer.alloc(4)), READY);
      await session.answerQueries(() => selected(['served']));
    });
    const berth = await startBefore(scripted);
    using client = await berth.login();
    expect(client.parameters.get('search_path')).toBe(value);
  });

  for (const mechanisms of [
    ['SCRAM-SHA-256-PLUS', 'SCRAM-SHA-256'],
    ['SCRAM-SHA-256', 'SCRAM-SHA-256-PLUS'],
    ['PLAIN', 'OAUTHBEARER', 'SCRAM-SHA-256', 'SCRAM-SHA-512'],
  ]) {
    test(`PG-11 SCRAM-SHA-256 is chosen from ${mechanisms.join(', ')}`, async () => {
      const chosen = Promise.withResolvers<Buffer>();
      const scripted = await play(async (session) => {
        session.send(saslMechanisms(...mechanisms));
        chosen.resolve((await session.until('p')).body);
        session.end();
      });
      const berth = await startBefore(scripted, ['connection.open_failed']);
      using client = await RawClient.connect({ port: berth.port });
      const login = client.logIn({ user: 'app', password: 'app-password' });
      expect((await chosen.promise).toString()).toMatch(/^SCRAM-SHA-256\0.{4}n,,/s);
      client.destroy();
      await expect(login).rejects.toThrow();
    });
  }

  test('PG-14 errors without SQLSTATE and with unknown fields reach the client as they are', async () => {
    const errors = [
      fields('E', 'SERROR', 'Mno state'),
      fields('E', 'SERROR', 'VERROR', 'C42601', 'Mmore', 'Zunknown', '!other'),
      fields('E'),
      frontend.message('E'),
    ];
    const scripted = await play(async (session) => {
      session.send(...welcome());
      let next = 0;
      await session.answerQueries(() => [errors[next++] ?? notice, READY]);
    });
    const berth = await startBefore(scripted);
    using client = await berth.login();
    for (const error of errors) {
      const [message] = await client.query('SELECT 1');
      expect(message?.type).toBe('E');
      expect(message?.body).toEqual(error.subarray(5));
    }
  });

  test('PG-33 what an idle connection is told reaches its next client, and kills nobody', async () => {
    const idle = Promise.withResolvers<ScriptedSession>();
    const scripted = await play(async (session) => {
      session.send(...welcome());
      idle.resolve(session);
      await session.answerQueries(() => selected(['served']));
    });
    const berth = await startBefore(scripted);
    using first = await berth.login();
    using second = await berth.login();
    const session = await idle.promise;
    session.send(parameterStatus('server_version', '18.1'), notice);
    const value = (client: RawClient) => client.parameters.get('server_version');
    expect([value(first), value(second)]).toEqual(['18.0', '18.0']);
    await eventually(async () => {
      await first.query('SELECT 1');
      return value(first) === '18.1' || undefined;
    }, 'the new version at the first client');
    await second.query('SELECT 1');
    expect(value(second)).toBe('18.1');
    expect(second.received.filter(({ type }) => type === 'N')).toEqual([]);
  });
});

/** A proxy before a scripted database, for the user `app`. */
function before(
  scripted: ScriptedDatabase,
  connectionsMax: number,
): { configuration: Configuration } {
  const configuration = makeConfiguration({
    database: database(),
    users: [{ name: 'app', password: 'app-password' }],
    pool: { MaxConnections: connectionsMax },
    file: {
      DBInstances: [
        {
          DBInstanceIdentifier: 'orders-db',
          Engine: 'postgres',
          Endpoint: { Address: '127.0.0.1', Port: scripted.port },
        },
      ],
    },
  });
  return { configuration };
}

function startBefore(scripted: ScriptedDatabase, expected: readonly string[] = []): Promise<Berth> {
  return start({ ...before(scripted, 1), expect: expected });
}

async function refusal(login: Promise<RawClient>): Promise<LoginError> {
  const outcome = await login.catch((error: unknown) => error);
  if (outcome instanceof LoginError) return outcome;
  if (outcome instanceof RawClient) outcome.destroy();
  throw new Error(`the login was not refused: ${String(outcome)}`);
}
