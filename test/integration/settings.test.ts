/**
 * Settings that clients bring in their start-up packet, and parameters that the database reports: on
 * a pool of one connection everybody sees what a connection of their own would show.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import { ReportedParameters } from '../../src/engine/postgres/parameters.ts';
import { testUndisturbed } from '../harness/adversary.ts';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { untilMetric } from '../harness/polling.ts';
import { addressOf, adminQuery, TEST_USERS, usePostgres } from '../harness/postgres.ts';
import { type Address, LoginError, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

type Parameters = Readonly<Record<string, string>>;

const database = usePostgres({ settings: { log_statement: 'all' } });
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  expect: ['session.pinned'],
}));

const proxy = (): Address => ({ port: berth().port });
const direct = (): Address => addressOf(database());

function login(address: Address, parameters: Parameters = {}, user = 'app'): Promise<RawClient> {
  const password = TEST_USERS.find(({ name }) => name === user)?.password ?? '';
  return RawClient.login(address, { user, password, database: 'app', parameters });
}

async function value(client: RawClient, sql: string): Promise<string | null | undefined> {
  const messages = await client.query(sql);
  expect(sqlStates(messages)).toEqual([]);
  return textRows(messages)[0]?.[0];
}

const show = (client: RawClient, name: string) => value(client, `SHOW ${name}`);

/** What a session has that a fresh one has not. */
async function sessionSettings(client: RawClient): Promise<unknown> {
  const sql = `SELECT name, setting FROM pg_catalog.pg_settings
    WHERE source IN ('session', 'client') ORDER BY name`;
  return textRows(await client.query(sql));
}

/** What a login answers, when it is refused: without where in the server's source it was. */
async function refusal(address: Address, parameters: Parameters): Promise<string> {
  const outcome = await login(address, parameters).catch((error: unknown) => error);
  if (outcome instanceof LoginError) {
    const told = [...outcome.fields].filter(([letter]) => !'FLR'.includes(letter));
    return told.map(([letter, text]) => letter + text).join(' ');
  }
  if (outcome instanceof RawClient) outcome.destroy();
  return `not refused: ${String(outcome)}`;
}

describe('each client has its own', () => {
  const pairs: readonly (readonly [string, string, string])[] = [
    ['application_name', 'one', 'two'],
    ['application_name', '', 'café "quoted" \'text\' \\n'],
    ['TimeZone', 'Asia/Tokyo', 'America/New_York'],
    ['DateStyle', 'German', 'ISO'],
    ['client_encoding', 'LATIN1', 'UTF8'],
    ['search_path', '"$user", public', 'pg_temp, "with ""quotes"""'],
    ['extra_float_digits', '-5', '3'],
    ['IntervalStyle', 'iso_8601', 'postgres_verbose'],
    ['bytea_output', 'escape', 'hex'],
    ['standard_conforming_strings', 'off', 'on'],
    ['my.setting', "it's", 'other'],
    ['role', 'app', 'none'],
  ];
  for (const [name, one, two] of pairs) {
    test(`${name} as ${JSON.stringify(one)} and ${JSON.stringify(two)}`, async () => {
      const expected = await Promise.all([one, two].map((each) => seen(direct(), name, each)));
      const values = [one, two].map((each) => ({ [name]: each }));
      const clients = await Promise.all(values.map((each) => login(proxy(), each)));
      const reported = clients.map(({ parameters }) => Object.fromEntries(parameters));
      expect(reported).toEqual(expected.map(({ parameters }) => parameters));
      for (let round = 0; round < 3; round++) {
        for (const [index, client] of clients.entries()) {
          expect(await show(client, name)).toBe(expected[index]?.shown);
        }
      }
      const pids = await Promise.all(
        clients.map((client) => value(client, 'SELECT pg_backend_pid()')),
      );
      expect(pids[0]).toBe(pids[1]);
      for (const client of clients) await client.end();
    });
  }

  async function seen(address: Address, name: string, each: string) {
    using client = await login(address, { [name]: each });
    const parameters = Object.fromEntries(client.parameters);
    return { parameters, shown: await show(client, name) };
  }

  test('the bytes of text follow client_encoding', async () => {
    using latin = await login(proxy(), { client_encoding: 'LATIN1' });
    using utf = await login(proxy(), { client_encoding: 'UTF8' });
    for (const [client, bytes] of [
      [latin, 'e9'],
      [utf, 'c3a9'],
      [latin, 'e9'],
    ] as const) {
      const messages = await client.query("SELECT U&'\\00e9'");
      expect(messages.map(formatMessage)).toContain(
        bytes === 'e9' ? 'DataRow 0xe9' : 'DataRow "é"',
      );
    }
  });

  test('several at once, names in any case, the last of a repeated one', async () => {
    const settings = { TIMEZONE: 'Asia/Tokyo', datestyle: 'SQL, DMY', Application_Name: 'many' };
    using own = await login(direct(), settings);
    using client = await login(proxy(), settings);
    expect(Object.fromEntries(client.parameters)).toEqual(Object.fromEntries(own.parameters));
    using plain = await login(proxy());
    expect(await show(plain, 'timezone')).toBe('UTC');
    expect(await show(client, 'timezone')).toBe('Asia/Tokyo');
    expect(await show(client, 'datestyle')).toBe('SQL, DMY');
  });

  testUndisturbed('PG-34 settings that are equal are not set again', async () => {
    const settings = { DateStyle: 'ISO', application_name: 'equal', options: '-c geqo=off' };
    using one = await login(proxy(), settings);
    using two = await login(proxy(), settings);
    await one.query('SELECT 1');
    const before = setCount(database());
    for (let round = 0; round < 10; round++) {
      for (const client of [one, two]) await client.query('SELECT 1');
    }
    await one.query("SELECT 'the end of the log'");
    await untilInLog(database(), 'the end of the log');
    expect(setCount(database()) - before).toBe(0);
    using other = await login(proxy(), { application_name: 'different' });
    await other.query("SELECT 'the end of the log again'");
    await untilInLog(database(), 'the end of the log again');
    expect(setCount(database()) - before).toBe(1);
  });

  test('PG-34 a client that comes later starts with the start-up values, not the last user’s', async () => {
    {
      using client = await login(proxy(), { options: '-c geqo=off -c work_mem=1MB' });
      await client.query('SELECT 1');
      await client.end();
    }
    using own = await login(direct());
    using next = await login(proxy());
    expect(await sessionSettings(next)).toEqual(await sessionSettings(own));
    expect(Object.fromEntries(next.parameters)).toEqual(Object.fromEntries(own.parameters));
  });
});

function setCount(postgres: EmbeddedPostgres): number {
  return postgres.log.split('statement: SELECT pg_catalog.set_config').length - 1;
}

async function untilInLog(postgres: EmbeddedPostgres, text: string): Promise<void> {
  if (!postgres.log.includes(text)) await postgres.nextLogLine(text);
}

describe('PG-06 options', () => {
  const forms: readonly string[] = [
    '-c geqo=off',
    '-cgeqo=off',
    '--geqo=off',
    '-c geqo=off --work_mem=2MB',
    '  -c   geqo=off   ',
    '--enable-seqscan=off',
    '-c application_name=with\\ space',
    '-c application_name=back\\\\slash',
    '-c application_name=a=b=c',
    '-c application_name=',
    '-c application_name=it\'s\\ "quoted"',
    '-c search_path=a,b\\ ,\\ c',
    '-c GEQO=off',
    '-c my.own=1 -c my.other=2',
    '-c statement_timeout=5min',
    '',
  ];
  for (const options of forms) {
    test(`${JSON.stringify(options)}: the same settings as PostgreSQL`, async () => {
      using own = await login(direct(), { options });
      using client = await login(proxy(), { options });
      const names = 'geqo work_mem enable_seqscan application_name search_path statement_timeout';
      for (const name of names.split(' ')) {
        expect(`${name} ${await show(client, name)}`).toBe(`${name} ${await show(own, name)}`);
      }
      // A custom setting that some client had is empty afterwards: PostgreSQL cannot forget its name.
      const custom = `SELECT coalesce(current_setting('my.own', true), ''),
        coalesce(current_setting('my.other', true), '')`;
      expect(textRows(await client.query(custom))).toEqual(textRows(await own.query(custom)));
    });
  }

  test('a parameter of the packet wins over options', async () => {
    const parameters = { application_name: 'packet', options: '-c application_name=options' };
    using own = await login(direct(), parameters);
    using client = await login(proxy(), parameters);
    expect(await show(own, 'application_name')).toBe('packet');
    expect(await show(client, 'application_name')).toBe('packet');
  });

  const refused: readonly Parameters[] = [
    { TimeZone: 'Mars/Olympus' },
    { DateStyle: 'tomorrow' },
    { client_encoding: 'klingon' },
    { extra_float_digits: '99' },
    { extra_float_digits: 'many' },
    { search_path: '"unclosed' },
    { no_such_setting: '1' },
    { log_statement: 'none' },
    { max_connections: '5' },
    { server_version: '1.0' },
    { options: '-c no_such_setting=1' },
    { options: '-c geqo=perhaps' },
    { options: '-c work_mem=1' },
    { options: '-c role=nobody_of_this_name' },
    { options: '-c role=postgres' },
  ];
  for (const parameters of refused) {
    test(`${JSON.stringify(parameters)}: the same error as PostgreSQL`, async () => {
      const expected = await refusal(direct(), parameters);
      expect(expected).toStartWith('SFATAL VFATAL');
      expect(await refusal(proxy(), parameters)).toBe(expected);
    });
  }

  for (const options of ['-c', '-c geqo', '--geqo', 'geqo=off', '-Z', '-c =off', '--=x', '-']) {
    test(`${JSON.stringify(options)} is refused, as by PostgreSQL`, async () => {
      const state = (text: string) => /^SFATAL VFATAL C(\w+)/.exec(text)?.[1];
      const expected = state(await refusal(direct(), { options }));
      expect(expected).toBeDefined();
      expect(state(await refusal(proxy(), { options }))).toBe(expected);
    });
  }

  test('what is refused leaves nothing behind', async () => {
    const parameters = { options: '-c geqo=off -c work_mem=3MB -c no_such_setting=1' };
    expect(await refusal(proxy(), parameters)).toContain('C42704');
    using own = await login(direct());
    using client = await login(proxy());
    expect(await sessionSettings(client)).toEqual(await sessionSettings(own));
  });
});

describe('PG-06 nothing of a client’s settings steers anything else', () => {
  const shaped = [
    "evil'; DROP TABLE victim; --",
    "evil\\'; DROP TABLE victim; --",
    '"; DROP TABLE victim; --"',
    "', true); DROP TABLE victim; SELECT set_config('a.b', '",
    "\\'); DROP TABLE victim; --",
    '$$; DROP TABLE victim; --',
    "\u00e9\u20ac\u{1f600}'",
  ];
  for (const text of shaped) {
    test(`a value shaped like SQL: ${text}`, async () => {
      await adminQuery(database(), 'CREATE TABLE IF NOT EXISTS victim (id int)');
      await adminQuery(database(), 'ALTER TABLE victim OWNER TO app');
      for (const scs of ['on', 'off']) {
        const parameters = { 'my.value': text, standard_conforming_strings: scs };
        using own = await login(direct(), parameters);
        using client = await login(proxy(), parameters);
        const [expected, shown] = await Promise.all(
          [own, client].map((each) => show(each, 'my.value')),
        );
        expect(shown).toBe(expected);
        using other = await login(proxy(), { application_name: text });
        expect(await value(other, "SELECT current_setting('my.value', true)")).not.toBe(text);
        expect(await show(client, 'my.value')).toBe(expected);
      }
      expect(await adminQuery(database(), 'SELECT count(*) FROM victim')).toEqual([{ count: '0' }]);
    });
  }

  test('a name shaped like SQL is refused, as by PostgreSQL', async () => {
    for (const name of ["a'b", 'my.a"b', 'my.x; DROP TABLE victim', 'a b', 'my.é']) {
      const expected = await refusal(direct(), { [name]: '1' });
      const answer = await refusal(proxy(), { [name]: '1' });
      if (expected.startsWith('not refused')) {
        expect(answer).toStartWith('not refused');
        using client = await login(proxy(), { [name]: 'own' });
        using plain = await login(proxy());
        const shown = `SELECT current_setting('${name}', true)`;
        for (let round = 0; round < 2; round++) {
          expect(await value(client, shown)).toBe('own');
          expect(await value(plain, shown)).toBe('');
        }
      } else expect(answer.toLowerCase()).toBe(expected.toLowerCase());
    }
    using client = await login(proxy());
    expect(await value(client, 'SELECT 1')).toBe('1');
  });

  test('CVE-2025-12819: a search_path with look-alikes is never followed by our own statements', async () => {
    await adminQuery(
      database(),
      `CREATE SCHEMA evil AUTHORIZATION app;
       CREATE TABLE evil.trap (what text);
       ALTER TABLE evil.trap OWNER TO app;
       CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE plpgsql AS
         $$BEGIN INSERT INTO evil.trap VALUES ('set_config'); RETURN 'evil'; END$$;
       CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE plpgsql AS
         $$BEGIN INSERT INTO evil.trap VALUES ('current_setting'); RETURN '1'; END$$;
       CREATE FUNCTION evil.version() RETURNS text LANGUAGE plpgsql AS
         $$BEGIN INSERT INTO evil.trap VALUES ('version'); RETURN 'evil'; END$$;`,
    );
    const attacker = { search_path: 'evil, pg_catalog' };
    using evil = await login(proxy(), attacker);
    expect(await show(evil, 'search_path')).toBe('evil, pg_catalog');
    {
      // The trap works for who walks into it.
      using own = await login(direct(), attacker);
      expect(await value(own, "SELECT set_config('a.b', 'c', false)")).toBe('evil');
      await own.query('TRUNCATE evil.trap');
    }
    using plain = await login(proxy());
    using named = await login(proxy(), { application_name: 'victim', search_path: 'public' });
    for (let round = 0; round < 3; round++) {
      await evil.query('SELECT 1');
      expect(await show(plain, 'search_path')).toBe('"$user", public');
      await evil.query('SELECT 1');
      expect(await show(named, 'application_name')).toBe('victim');
    }
    // A pinned session of the attacker's is reset, too.
    await evil.query('LISTEN somewhere');
    await evil.end();
    expect(await show(plain, 'search_path')).toBe('"$user", public');
    expect(await adminQuery(database(), 'SELECT * FROM evil.trap')).toEqual([]);
  });

  const harsh = [
    '-c statement_timeout=1',
    '-c transaction_timeout=1',
    '-c statement_timeout=1s',
    '-c lock_timeout=1 -c idle_in_transaction_session_timeout=1',
    '-c default_transaction_read_only=on -c default_transaction_isolation=serializable',
    '-c check_function_bodies=off -c row_security=off -c default_transaction_deferrable=on',
    '-c standard_conforming_strings=off -c backslash_quote=off -c escape_string_warning=on',
  ];
  for (const options of harsh) {
    test(`nobody else is touched by ${options}`, async () => {
      // It harms itself, and then its connection ends.
      const ends = ['database_closed', 'reset_failed', 'database_lost'];
      if (options.includes('=1')) berth().expectLog(({ reason }) => ends.includes(`${reason}`));
      using plain = await login(proxy(), { application_name: 'plain' });
      for (let round = 0; round < 50; round++) {
        // Its own statements, and its login, may well not end in time.
        const hostile = await login(proxy(), { options }).catch(() => undefined);
        await hostile?.query('SELECT 1').catch(() => undefined);
        const sql = 'CREATE TABLE IF NOT EXISTS written (id int)';
        expect(sqlStates(await plain.query(sql))).toEqual([]);
        hostile?.destroy();
      }
      expect(await show(plain, 'statement_timeout')).toBe('0');
      expect(await show(plain, 'transaction_read_only')).toBe('off');
    });
  }
});

describe('what the database reports', () => {
  const large = useBerth(() => ({ database: database(), expect: ['session.pinned'] }));
  const proxyOfLarge = (): Address => ({ port: large().port });

  test('PG-33 a server-wide change reaches idle clients with their next query', async () => {
    using one = await login(proxyOfLarge());
    using two = await login(proxyOfLarge());
    using own = await login(proxyOfLarge(), { TimeZone: 'Asia/Tokyo' });
    for (const client of [one, two, own]) await client.query('SELECT 1');
    const zone = (client: RawClient) => client.parameters.get('TimeZone');
    await changeZone("SET timezone = 'Africa/Cairo'");
    try {
      expect([one, two, own].map(zone)).toEqual(['UTC', 'UTC', 'Asia/Tokyo']);
      for (const client of [own, two, one]) await client.query('SELECT 1');
      expect([one, two, own].map(zone)).toEqual(['Africa/Cairo', 'Africa/Cairo', 'Asia/Tokyo']);
    } finally {
      await changeZone('RESET timezone');
    }
    for (const client of [one, own, two]) await client.query('SELECT 1');
    expect([one, two, own].map(zone)).toEqual(['UTC', 'UTC', 'Asia/Tokyo']);
  });

  // A change that comes with the answer to a client's statement is taken for the statement's doing.
  test('PG-33 a server-wide change pins nobody', async () => {
    using client = await login(proxyOfLarge());
    await client.query('SELECT 1');
    await changeZone("SET timezone = 'Africa/Cairo'");
    try {
      await client.query('SELECT 1');
      expect(client.parameters.get('TimeZone')).toBe('Africa/Cairo');
      expect(await large().metric('database_connections_currently_session_pinned')).toBe(0);
    } finally {
      await changeZone('RESET timezone');
    }
  });

  async function changeZone(change: string): Promise<void> {
    await adminQuery(database(), `ALTER SYSTEM ${change}`);
    await database().reload();
    // The server takes note of a reload before it reads the next command of each session.
    await adminQuery(database(), 'SELECT pg_catalog.pg_reload_conf()');
  }

  test('PG-33 a parameter that a pinned session changes is reported in place, and to nobody else', async () => {
    using pinned = await login(proxy());
    await pinned.query('CREATE TEMP TABLE t (id int)');
    const messages = await pinned.query("SET application_name = 'pinned'");
    expect(messages.map(formatMessage)).toContain('ParameterStatus application_name=pinned');
    using waiting = await RawClient.connect(proxy());
    const options = { user: 'app', password: 'app-password', database: 'app' };
    const loggedIn = waiting.logIn({ ...options, parameters: { TimeZone: 'Asia/Seoul' } });
    await untilMetric(berth(), 'berth_borrow_queue_depth', 1);
    await pinned.end();
    await loggedIn;
    await waiting.query('SELECT 1');
    expect(waiting.parameters.get('application_name')).toBe('');
  });

  test('PG-33 a notice to a client is not seen by the next one', async () => {
    using one = await login(proxy());
    using two = await login(proxy());
    const notices = await one.query("DO $$BEGIN RAISE NOTICE 'for one'; END$$");
    expect(notices.map(({ type }) => type)).toContain('N');
    const types = (await two.query('SELECT 1')).map(({ type }) => type);
    expect(types).toEqual(['T', 'D', 'C', 'Z']);
  });

  test('alternating values do not grow the proxy', () => {
    const start = ReportedParameters.NONE.with('server_version', '18.0').with('name', 'one');
    let now = start;
    for (let round = 0; round < 10; round++) now = now.with('name', 'two').with('name', 'one');
    expect(now).toBe(start);
  });

  test('more different values than are remembered are still told apart', () => {
    const start = ReportedParameters.NONE.with('server_version', '18.0');
    let now = start;
    for (let round = 0; round < 20_000; round++) now = now.with('name', `${round}`);
    expect(now.get('name')).toBe('19999');
    expect(now.differencesFrom(start)).toHaveLength(1);
    expect(now.differencesFrom(start.with('name', '19999'))).toEqual([]);
  });
});

test('every setting that fits into a start-up packet', async () => {
  const many = Array.from({ length: 180 }, (_, index) => [`many.setting_${index}`, 'x'.repeat(20)]);
  const parameters = Object.fromEntries(many);
  expect(frontend.startup({ user: 'app', ...parameters }).length).toBeGreaterThan(6_000);
  using client = await login(proxy(), parameters);
  using plain = await login(proxy());
  expect(await value(plain, "SELECT current_setting('many.setting_179', true)")).not.toBe(
    'x'.repeat(20),
  );
  expect(await show(client, 'many.setting_179')).toBe('x'.repeat(20));
});
