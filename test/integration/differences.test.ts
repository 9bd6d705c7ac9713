/**
 * What docs/differences.md says of a direct connection and of Berth, side by side, where no other test
 * shows it. Whoever makes one of these go away changes the page, too.
 */

import { describe, expect, setDefaultTimeout, test } from 'bun:test';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { type LogLine, useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { addressOf, adminQuery, usePostgres } from '../harness/postgres.ts';
import { LoginError, RawClient } from '../harness/raw-client.ts';

setDefaultTimeout(20_000);

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 1 },
  expect: ['session.pinned', (line: LogLine) => line.reason === 'database_closed'],
}));

type Parameters = Readonly<Record<string, string>>;

const APP = { user: 'app', password: 'app-password', database: 'app' };

function direct(parameters: Parameters = {}): Promise<RawClient> {
  return RawClient.login(addressOf(database()), { ...APP, parameters });
}

function proxied(parameters: Parameters = {}): Promise<RawClient> {
  return berth().login({ parameters });
}

const WAYS = [
  ['direct', direct],
  ['through Berth', proxied],
] as const;

async function value(client: RawClient, sql: string): Promise<string | null | undefined> {
  const messages = await client.query(sql);
  expect(sqlStates(messages)).toEqual([]);
  return textRows(messages)[0]?.[0];
}

async function stateOf(login: Promise<RawClient>): Promise<string> {
  const outcome = await login.catch((error: unknown) => error);
  if (outcome instanceof RawClient) outcome.destroy();
  return outcome instanceof LoginError ? outcome.sqlState : 'logged in';
}

const PID = 'select pg_backend_pid()';

/** Ends the connections of the pool, but not a look of the monitor's. */
async function endConnections(): Promise<void> {
  await adminQuery(
    database(),
    `select pg_terminate_backend(pid, 5000) from pg_stat_activity
      where usename = 'app' and application_name <> 'berth-monitor'`,
  );
  await untilMetric(berth(), 'database_connections', 0);
}

describe('logging in', () => {
  test('switches of postgres other than settings', async () => {
    const parameters = { options: '-S 1024' };
    using client = await direct(parameters);
    expect(await value(client, 'show work_mem')).toBe('1MB');
    expect(await stateOf(proxied(parameters))).toBe('42601');
  });

  test('settings that can only be given at the start', async () => {
    const parameters = { options: '-c ignore_system_indexes=on' };
    expect(await stateOf(direct(parameters))).toBe('logged in');
    const refused = await proxied(parameters).catch((error: unknown) => error);
    expect(String(refused)).toContain('cannot be set after connection start');
  });

  test('login event triggers, and the notices of a log-in', async () => {
    await adminQuery(
      database(),
      `create table logins (at timestamptz default now());
       create function note_login() returns event_trigger security definer language plpgsql as $$
         begin insert into public.logins default values; raise warning 'welcome'; end $$;
       create event trigger noting on login execute function note_login();
       alter event trigger noting enable always`,
    );
    try {
      const counts: (string | undefined | null)[] = [];
      for (const [, login] of WAYS) {
        await endConnections();
        await adminQuery(database(), 'truncate logins');
        const clients = [await login(), await login(), await login()];
        for (const client of clients) {
          await client.query('select 1');
          const warnings = client.received.filter(({ type }) => type === 'N');
          expect(warnings).toHaveLength(login === direct ? 1 : 0);
          client.destroy();
        }
        // The one who counts logs in as well, and so may the monitor: into another database.
        const [row] = await adminQuery(database(), 'select count(*) - 1 as count from logins');
        counts.push(row?.count);
      }
      expect(counts).toEqual(['3', '1']);
    } finally {
      await adminQuery(database(), 'drop event trigger noting');
    }
  });
});

describe('settings and session state', () => {
  test('ALTER ROLE ... SET holds for the next session, or for the next connection', async () => {
    using before = await proxied();
    const pid = await value(before, PID);
    await adminQuery(database(), "alter role app set work_mem = '9MB'");
    try {
      using own = await direct();
      expect(await value(own, 'show work_mem')).toBe('9MB');
      using client = await proxied();
      expect(await value(client, 'show work_mem')).toBe('4MB');
      await adminQuery(database(), `select pg_terminate_backend(${pid}, 5000)`);
      await untilMetric(berth(), 'database_connections', 0);
      expect(await value(client, 'show work_mem')).toBe('9MB');
    } finally {
      await adminQuery(database(), 'alter role app reset work_mem');
      await endConnections();
    }
  });

  test('lastval() after an INSERT, in a transaction of its own', async () => {
    await adminQuery(
      database(),
      'create table numbered (id serial); alter table numbered owner to app',
    );
    for (const [, login] of WAYS) {
      using client = await login();
      using other = await login();
      await client.query('insert into numbered default values');
      await other.query('insert into numbered default values');
      const mine = await value(client, 'select lastval() = (select min(id) from numbered)');
      expect(mine).toBe(login === direct ? 't' : 'f');
      await client.query('truncate numbered restart identity');
      // In one transaction there is no difference.
      await client.query('begin; insert into numbered default values');
      expect(await value(client, 'select lastval()')).toBe('1');
      await client.query('commit; truncate numbered restart identity');
      await Promise.all([client.end(), other.end()]);
    }
  });

  test('names in pg_prepared_statements', async () => {
    const sql = 'select string_agg(name, $$,$$) from pg_prepared_statements where name <> $$$$';
    for (const [, login] of WAYS) {
      using client = await login();
      client.send(frontend.parse('mine', 'select 1'), frontend.bind({ statement: 'mine' }));
      client.send(frontend.execute(), frontend.sync());
      await client.untilReady();
      const names = await value(client, sql);
      if (login === direct) expect(names).toBe('mine');
      else expect(names).toMatch(/^berth_\d+/);
    }
  });
});

describe('identity', () => {
  test('the process id of the log-in is no server process, and ends nobody', async () => {
    using own = await direct();
    expect(await value(own, PID)).toBe(String(own.backendPid));
    using client = await proxied();
    expect(client.backendPid).toBeGreaterThan(2 ** 22);
    const sql = `select pg_terminate_backend(${client.backendPid}), pg_cancel_backend(${client.backendPid})`;
    expect(await adminQuery(database(), sql)).toEqual([
      { pg_terminate_backend: 'f', pg_cancel_backend: 'f' },
    ]);
    expect(await value(client, 'select 1')).toBe('1');
  });

  test('backend_start is that of the database connection', async () => {
    using first = await proxied();
    const sql = 'select backend_start::text from pg_stat_activity where pid = pg_backend_pid()';
    const started = await value(first, sql);
    using late = await proxied();
    expect(await value(late, sql)).toBe(started ?? '');
  });

  test('application_name of an idle connection is its last session’s', async () => {
    {
      using named = await proxied({ application_name: 'the last one' });
      await named.query('select 1');
      await named.end();
    }
    await untilMetric(berth(), 'client_connections', 0);
    const sql =
      "select application_name from pg_stat_activity where usename = 'app' and state = 'idle' and application_name <> 'berth-monitor'";
    expect(await adminQuery(database(), sql)).toEqual([{ application_name: 'the last one' }]);
    using next = await proxied();
    expect(await value(next, 'show application_name')).toBe('');
  });
});

describe('time and the end of connections', () => {
  test('idle_session_timeout ends database connections, and no client notices', async () => {
    const parameters = { options: '-c idle_session_timeout=50' };
    using own = await direct(parameters);
    expect(sqlStates(await own.untilClosed())).toEqual(['57P05']);
    using client = await proxied(parameters);
    const pid = await value(client, PID);
    await eventually(async () => {
      const rows = await adminQuery(
        database(),
        `select 1 from pg_stat_activity where pid = ${pid}`,
      );
      return rows.length === 0 ? true : undefined;
    }, 'the end of the idle connection');
    await untilMetric(berth(), 'database_connections', 0);
    expect(await value(client, PID)).not.toBe(pid ?? '');
    expect(client.received.map(formatMessage).join()).not.toContain('57P05');
  });

  test('PG-40: a transaction_timeout of the database ends the session, or the transaction, and is told once', async () => {
    const timeout = "begin; set local transaction_timeout = '30ms'";
    using own = await direct();
    own.send(frontend.query(timeout));
    await own.untilReady();
    expect(sqlStates(await own.untilClosed())).toEqual(['25P04']);
    berth().expectLog('session.interrupted');
    const { length } = berth().logged('session.interrupted');
    using client = await proxied();
    await client.query(timeout);
    await berth().untilLogged('session.interrupted', length + 1);
    expect(sqlStates(await client.query('select 1'))).toEqual(['25P04']);
    expect(sqlStates(await client.query('commit'))).toEqual([]);
    expect(await value(client, 'select 1')).toBe('1');
  });
});
