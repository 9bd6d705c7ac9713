/** A planned restart: `berth pause` and `berth resume`, and what clients notice of it. */

import { afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { DescribeDBProxiesCommand, DescribeEventsCommand } from '@aws-sdk/client-rds';
import type { EmbeddedPostgres } from '../../src/embedded/postgres.ts';
import {
  type BackendMessage,
  errorFields,
  sqlStates,
  textRows,
} from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import { BusyClients, WRITES_TABLE } from '../harness/busy-clients.ts';
import { runBerth } from '../harness/commands.ts';
import { within } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { fileKey } from '../harness/iam.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, START_DEADLINE_MS, usePostgres } from '../harness/postgres.ts';
import { rdsClient, TEST_KEY } from '../harness/rds.ts';

setDefaultTimeout(30_000);

const BUSY = 200;

const database = usePostgres();
const berth = useBerth(() => ({
  database: database(),
  pool: { MaxConnections: 20 },
  expect: ['session.pinned', 'proxy.pause_overdue'],
}));

const other = usePostgres();

beforeAll(async () => {
  for (const each of [database(), other()]) {
    await adminQuery(each, `${WRITES_TABLE}; alter table writes owner to app`);
  }
}, START_DEADLINE_MS);

async function written(of: EmbeddedPostgres): Promise<(string | null | undefined)[]> {
  return (await adminQuery(of, 'select id from writes')).map(({ id }) => id);
}

const pause = (options = '--timeout 10', of = berth()) =>
  runBerth(`pause orders --url ${of.apiUrl} ${options}`);
const resume = (of = berth()) => runBerth(`resume orders --url ${of.apiUrl}`);

// What fails must not fail the tests after it.
afterEach(() => own('ResumeDBProxy', {}));

/** Connections that the database has, of the proxy, of whatever kind. */
async function connections(of = database()): Promise<number> {
  const sql = "select count(*) from pg_stat_activity where backend_type = 'client backend'";
  const [row] = await adminQuery(of, sql);
  // Without the one that asks.
  return Number(row?.count) - 1;
}

async function untilState(state: string, of = berth()): Promise<void> {
  const look = async () => {
    const answer = await own('DescribeDBProxyPause', {}, of);
    return answer.State === state ? true : undefined;
  };
  await eventually(look, `the proxy is ${state}`);
}

/** Asks Berth's own API as anybody with an HTTP client could. */
async function own(operation: string, input: object, of = berth()) {
  const response = await within(
    fetch(of.apiUrl, {
      method: 'POST',
      headers: { 'X-Amz-Target': `Berth.${operation}` },
      body: JSON.stringify({ DBProxyName: 'orders', ...input }),
    }),
    `an answer to ${operation}`,
  );
  return JSON.parse(await response.text());
}

/** Resolves when the client waits for a connection. */
async function untilQueued(count: number, of = berth()): Promise<void> {
  await untilMetric(of, 'berth_borrow_queue_depth', count);
}

describe('a planned restart', () => {
  test('of a database with 200 busy clients: no error, and every write is there', async () => {
    using busy = await BusyClients.start('postgres', berth().port, BUSY);
    await busy.untilEachHasDone(2);
    const paused = await pause();
    expect(paused).toMatchObject({ code: 0, err: '' });
    expect(paused.out).toContain(
      'orders is paused: the database has no connection of it any more.',
    );
    expect(await connections()).toBe(0);
    expect(await berth().metric('berth_paused')).toBe(1);
    await untilQueued(BUSY);
    // Waits for whoever is connected, so it ends only if nobody is.
    await database().restart('smart');
    const resumed = await resume();
    expect(resumed).toMatchObject({ code: 0, err: '' });
    expect(resumed.out).toMatch(/^orders goes on after \d+ s; 200 clients waited\.\n$/);
    await busy.untilEachHasDone(2);
    await busy.stop(() => written(database()));
    expect(await berth().metric('berth_paused')).toBe(0);
    expect(berth().logged('target.health_changed')).toHaveLength(1);
  });

  test('of which another database takes the place: no error, and each write is in one of them', async () => {
    const [blue, green] = [database(), other()];
    await adminQuery(blue, 'truncate writes');
    await using proxy = await Berth.start({ database: blue, pool: { MaxConnections: 20 } });
    using busy = await BusyClients.start('postgres', proxy.port, BUSY);
    await busy.untilEachHasDone(1);
    expect(await pause(undefined, proxy)).toMatchObject({ code: 0 });
    const inBlue = await written(blue);
    const moved = JSON.stringify(proxy.configuration).replace(`:${blue.port}`, `:${green.port}`);
    await proxy.reload(JSON.parse(moved));
    expect(await resume(proxy)).toMatchObject({ code: 0 });
    await busy.untilEachHasDone(1);
    await busy.stop(async () => [...inBlue, ...(await written(green))]);
    expect(await written(blue)).toEqual(inBlue);
  });

  test('paused and resumed again and again: no error, and nothing is left over', async () => {
    await adminQuery(database(), 'truncate writes');
    using busy = await BusyClients.start('postgres', berth().port, 40);
    for (let round = 0; round < 10; round++) {
      await busy.untilEachHasDone(1);
      expect(await pause()).toMatchObject({ code: 0 });
      expect(await connections()).toBe(0);
      await resume();
    }
    await busy.untilEachHasDone(1);
    await busy.stop(() => written(database()));
    await untilMetric(berth(), 'berth_borrow_queue_depth', 0);
    await untilMetric(berth(), 'database_connections_currently_borrowed', 0);
    // The monitor may be looking.
    const isEven = async () =>
      (await connections()) === (await berth().metric('database_connections')) || undefined;
    await eventually(isEven, 'no connection but those of the pool');
  });

  test('settings and prepared statements of a session are there afterwards', async () => {
    using client = await berth().login();
    await client.query("set application_name = 'till'");
    client.send(frontend.parse('named', 'select 7 + $1::int'), frontend.sync());
    await client.untilReady();
    await pause();
    client.send(frontend.query('show application_name'));
    client.send(
      frontend.bind({ statement: 'named', parameters: ['1'] }),
      frontend.execute(),
      frontend.sync(),
    );
    await untilQueued(1);
    await database().restart('smart');
    await resume();
    expect(textRows(await client.untilReady())).toEqual([['till']]);
    expect(textRows(await client.untilReady())).toEqual([['8']]);
  });
});

describe('while it is paused', () => {
  test('who has logged in before logs in, and who has not waits', async () => {
    using before = await berth().login();
    await before.query('select 1');
    await pause();
    using known = await berth().login();
    const unknown = berth().login({ user: 'other', database: 'app' });
    known.send(frontend.query('select 2'));
    await untilQueued(2);
    expect(await connections()).toBe(0);
    await resume();
    expect(textRows(await known.untilReady())).toEqual([['2']]);
    using other = await unknown;
    expect(textRows(await other.query('select 3'))).toEqual([['3']]);
  });

  test('a request that waits is cancelled, one whose client leaves is forgotten', async () => {
    using first = await berth().login();
    using second = await berth().login();
    await pause();
    first.send(frontend.query('select 1'));
    second.send(frontend.query('select 2'));
    await untilQueued(2);
    await first.cancel();
    expect(sqlStates(await first.untilReady())).toEqual(['57014']);
    second.destroy();
    await untilQueued(0);
    await resume();
    expect(textRows(await first.query('select 3'))).toEqual([['3']]);
  });

  test('pausing and resuming again change nothing', async () => {
    expect((await resume()).out).toBe('orders is not paused.\n');
    await pause();
    const again = await pause();
    expect(again).toMatchObject({ code: 0, err: '' });
    expect(again.out).toMatch(/^orders is paused already, for \d+ s\.\n$/);
    expect(await resume()).toMatchObject({ code: 0, err: '' });
    expect(await resume()).toMatchObject({ code: 0, out: 'orders is not paused.\n' });
  });

  test('it is seen in the API, the pools and the events', async () => {
    using client = await berth().login();
    await client.query('select 1');
    const rds = rdsClient(berth());
    const statusOf = async () => {
      const { DBProxies = [] } = await rds.send(new DescribeDBProxiesCommand({}));
      return DBProxies[0]?.Status;
    };
    await client.query('begin');
    const paused = pause();
    await untilState('PAUSING');
    expect(await statusOf()).toBe('suspending');
    await client.query('commit');
    await paused;
    expect(await statusOf()).toBe('suspended');
    const listed = await (await berth().fetch('/pools')).json();
    expect(JSON.stringify(listed)).toMatch(/"paused_since":"\d+-/);
    expect((await berth().fetch('/readyz')).status).toBe(200);
    await resume();
    expect(await statusOf()).toBe('available');
    const events = new DescribeEventsCommand({
      SourceType: 'db-proxy',
      SourceIdentifier: 'orders',
    });
    const { Events = [] } = await rds.send(events);
    expect(Events.slice(-3).map(({ Message }) => Message)).toEqual([
      'The DB proxy is being paused.',
      'The DB proxy is paused.',
      'The DB proxy serves its clients again.',
    ]);
  });

  test('who listens is told again afterwards', async () => {
    using listener = await berth().login();
    using notifier = await berth().login();
    await listener.query('listen jobs');
    await untilMetric(berth(), 'berth_listening_connections', 1);
    await notifier.query("begin; notify jobs, 'last'");
    const paused = pause();
    await untilState('PAUSING');
    await notifier.query('commit');
    expect((await paused).code).toBe(0);
    expect(await connections()).toBe(0);
    // What was sent before it was paused has arrived.
    expect(notified(await listener.next())).toBe('last');
    // The first that anybody says afterwards.
    notifier.send(frontend.query("notify jobs, 'first'"));
    await untilQueued(1);
    await resume();
    expect(notified(await listener.next())).toBe('first');
  });
});

describe('transactions that do not end', () => {
  test('the pause fails, names who holds a connection, and everybody goes on', async () => {
    using busy = await berth().login({ parameters: { application_name: 'till' } });
    using pinned = await berth().login();
    using waiting = await berth().login();
    await busy.query('begin');
    await pinned.query('create temp table kept (id int)');
    const pausing = pause('--timeout 1');
    await untilState('PAUSING');
    waiting.send(frontend.query('select 5'));
    const failed = await pausing;
    expect(failed.code).toBe(1);
    expect(failed.err).toContain(
      'orders could not be paused within 1 s, so it goes on. 2 sessions',
    );
    expect(failed.err).toMatch(/ till .* in_transaction /);
    expect(failed.err).toContain('by temporary_object: create temp table kept (id int)');
    expect(textRows(await waiting.untilReady())).toEqual([['5']]);
    const line = berth().logged('proxy.pause_overdue').at(-1);
    expect(line?.msg).toContain('pinned by temporary_object');
    expect(await own('DescribeDBProxyPause', {})).toMatchObject({
      State: 'RUNNING',
      Failure: { Timeout: 1, SessionCount: 2 },
    });
    expect(await berth().metric('berth_paused')).toBe(0);
  });

  test('with --keep it goes on waiting, until the last of them has ended', async () => {
    using busy = await berth().login();
    using pinned = await berth().login();
    await busy.query('begin');
    await pinned.query('create temp table kept (id int)');
    const overdue = berth().logged('proxy.pause_overdue').length;
    const pausing = pause('--timeout 1 --keep');
    await berth().untilLogged('proxy.pause_overdue', overdue + 1);
    await busy.query('commit');
    // A pinned session goes on working, so it can free itself.
    await pinned.query('discard all');
    expect(await pausing).toMatchObject({ code: 0, err: '' });
    await resume();
  });

  test('with --keep a restart costs those who hold a connection what it does, and nobody else', async () => {
    const settings = { database: database(), expect: ['session.pinned', 'proxy.pause_overdue'] };
    await using proxy = await Berth.start(settings);
    using pinned = await proxy.login();
    using waiting = await proxy.login();
    await pinned.query('create temp table kept (id int)');
    const pausing = pause('--timeout 1 --keep', proxy);
    await untilState('PAUSING', proxy);
    waiting.send(frontend.query('select 6'));
    await proxy.untilLogged('proxy.pause_overdue');
    proxy.expectLog(/"reason":"database_closed"/, /"reason":"database_lost"/);
    await database().restart('fast');
    expect(await pausing).toMatchObject({ code: 0, err: '' });
    expect(sqlStates(await pinned.untilClosed())).toEqual(['57P01']);
    await resume(proxy);
    expect(textRows(await waiting.untilReady())).toEqual([['6']]);
  });

  test('resumed meanwhile, it ends', async () => {
    using busy = await berth().login();
    await busy.query('begin');
    const pausing = pause();
    await untilState('PAUSING');
    await resume();
    expect(await pausing).toMatchObject({
      code: 1,
      err: 'berth: orders was resumed before it was paused\n',
    });
    await busy.query('commit');
  });
});

describe('the program', () => {
  const start = () => {
    const launcher = fileURLToPath(new URL('../../bin/berth', import.meta.url));
    const child = spawn(launcher, ['pause', 'orders', '--config', berth().configurationFile]);
    const output: string[] = [];
    child.stdout.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    child.stderr.on('data', (chunk: Buffer) => output.push(chunk.toString()));
    const { promise: ended, resolve } = Promise.withResolvers<string>();
    child.on('close', (code) => resolve(`${output.join('')}exit ${code}`));
    return { child, ended };
  };

  test('shows whom it waits for, and says when it is paused', async () => {
    using busy = await berth().login({ parameters: { application_name: 'till' } });
    await busy.query('begin');
    const { child, ended } = start();
    const shown = Promise.withResolvers<void>();
    child.stdout.on('data', (chunk: Buffer) => {
      if (chunk.toString().includes('1 session holds a connection:')) shown.resolve();
    });
    await within(shown.promise, 'the session that is waited for');
    await busy.query('commit');
    const text = await within(ended, 'the end of berth pause');
    expect(text).toMatch(/ till .* in_transaction /);
    expect(text).toEndWith('To go on: berth resume orders\nexit 0');
  });

  test('interrupted, it lets everybody go on', async () => {
    using busy = await berth().login();
    await busy.query('begin');
    const { child, ended } = start();
    await untilState('PAUSING');
    child.kill('SIGINT');
    const text = await within(ended, 'the end of berth pause');
    expect(text).toEndWith('berth: interrupted, so orders goes on\nexit 1');
    await untilState('RUNNING');
    await busy.query('commit');
  });
});

describe('what it is refused with', () => {
  test.each([
    ['pause nobody', 1, 'refuses (DBProxyNotFoundFault): DB proxy nobody was not found'],
    ['resume nobody', 1, 'refuses (DBProxyNotFoundFault): DB proxy nobody was not found'],
    ['pause', 2, "missing required argument 'proxy'"],
    ['pause orders --timeout 0', 2, 'It must be 1 to 3600.'],
    ['pause orders --timeout soon', 2, 'It must be 1 to 3600.'],
    ['resume orders --keep', 2, "unknown option '--keep'"],
    ['pauze orders', 2, "unknown command 'pauze'"],
  ])('berth %s', async (words, code, text) => {
    const ended = await runBerth(`${words} --url ${berth().apiUrl}`);
    expect(ended.code).toBe(code);
    expect(ended.err).toContain(text);
    expect(await own('DescribeDBProxyPause', {})).toMatchObject({ State: 'RUNNING' });
  });

  test.each([
    [{ Timeout: 0 }, 'ValidationError'],
    [{ Timeout: '5' }, 'ValidationError'],
    [{ Force: true }, 'ValidationError'],
    [{ DBProxyName: 7 }, 'ValidationError'],
  ])('PauseDBProxy with %j', async (input, code) => {
    expect(await own('PauseDBProxy', input)).toMatchObject({ __type: code });
  });

  test('an operation that there is not', async () => {
    expect(await own('StopDBProxy', {})).toMatchObject({ __type: 'InvalidAction' });
  });
});

describe('a proxy of its own', () => {
  test('clients wait no longer than ConnectionBorrowTimeout', async () => {
    await using proxy = await Berth.start({
      database: database(),
      pool: { ConnectionBorrowTimeout: 1 },
      expect: ['borrow.failed'],
    });
    using client = await proxy.login();
    await client.query('select 1');
    expect((await pause(undefined, proxy)).out).toContain('for at most 1 s each');
    const messages = await client.query('select 1');
    expect(sqlStates(messages)).toEqual(['08000']);
    const error = messages.find(({ type }) => type === 'E');
    expect(error && errorFields(error).get('D')).toContain('while the proxy is paused');
    await resume(proxy);
    expect(textRows(await client.query('select 2'))).toEqual([['2']]);
  });

  test('SIGTERM while it is paused tells those who wait, and ends at once', async () => {
    await using proxy = await Berth.start({ database: database(), file: { DrainTimeout: 600 } });
    using idle = await proxy.login();
    using waiting = await proxy.login();
    await waiting.query('select 1');
    await pause(undefined, proxy);
    waiting.send(frontend.query('select 2'));
    await untilQueued(1, proxy);
    proxy.signal('SIGTERM');
    for (const client of [idle, waiting]) {
      expect(sqlStates(await client.untilClosed())).toEqual(['57P01']);
    }
    expect(await within(proxy.ended, 'the end of the proxy')).toMatchObject({ code: 0 });
  });

  test('only those may pause it whose policies allow it', async () => {
    const allowed = (Action: string) => ({
      PolicyName: 'test',
      PolicyDocument: { Statement: [{ Effect: 'Allow', Action, Resource: '*' }] },
    });
    const reader = { accessKeyId: 'AKIAREADER', secretAccessKey: 'of reader' };
    await using proxy = await Berth.start({
      database: database(),
      file: {
        Api: { Listen: '127.0.0.1:0' },
        Principals: [
          { UserName: 'operator', AccessKeys: [fileKey(TEST_KEY)], Policies: [allowed('berth:*')] },
          { UserName: 'reader', AccessKeys: [fileKey(reader)], Policies: [allowed('rds:*')] },
        ],
      },
    });
    const words = `pause orders --url ${proxy.apiUrl}`;
    const nobody = await runBerth(words);
    expect(nobody.code).toBe(1);
    expect(nobody.err).toContain('AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY sign requests');
    const refused = await runBerth(words, reader);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('user/reader is not authorized to perform: berth:PauseDBProxy');
    const wrong = await runBerth(words, { ...TEST_KEY, secretAccessKey: 'guessed' });
    expect(wrong.err).toContain('SignatureDoesNotMatch');
    expect(await runBerth(`${words} --json`, TEST_KEY)).toMatchObject({ code: 0, err: '' });
    expect(await runBerth(`resume orders --url ${proxy.apiUrl}`, TEST_KEY)).toMatchObject({
      code: 0,
    });
  });
});

function notified(message: BackendMessage): string {
  // Int32 process id, channel, payload.
  return message.body.toString('utf8', 4).split('\0')[1] ?? '';
}
