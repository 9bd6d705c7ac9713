/** PG-73: LISTEN without a pin. What a listening client is told, and when, is what a server would tell. */

import { beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import pg from 'pg';
import postgres from 'postgres';
import { formatMessage, sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth, useBerth } from '../harness/berth.ts';
import type { Configuration } from '../harness/configuration.ts';
import { Arrivals } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { eventually, untilMetric } from '../harness/polling.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { compare, loginDirectly, untilAllReturned } from './side-by-side.ts';

setDefaultTimeout(30_000);

const { bind, describe: describeMessage, execute, parse, query, sync } = frontend;

const database = usePostgres();
const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 6 } }));

async function notify(channel: string, payload: string): Promise<void> {
  await adminQuery(database(), `select pg_notify('${channel}', '${payload}')`);
}

function payloadsOf(messages: readonly { type: string; body: Buffer }[]): string[] {
  return messages
    .filter(({ type }) => type === 'A')
    .map(({ body }) => body.toString('utf8', body.indexOf(0, 4) + 1, body.length - 1));
}

/** The payload of the next message, which must be a notification. */
async function told(client: RawClient): Promise<string> {
  const message = await client.next();
  expect(message.type).toBe('A');
  return payloadsOf([message])[0] ?? '';
}

/**
 * Whatever has been notified so far has been told when this returns. Another client notifies the same
 * channel last; what comes before that is returned.
 */
async function toldSoFar(client: RawClient, channel: string): Promise<string[]> {
  await notify(channel, 'the last');
  const payloads: string[] = [];
  for (;;) {
    const payload = await told(client);
    if (payload === 'the last') return payloads;
    payloads.push(payload);
  }
}

async function pins(proxy: Berth = berth()): Promise<number> {
  return await proxy.metric('berth_session_pins_total');
}

let pinsBefore = 0;
beforeEach(async () => {
  pinsBefore = await pins();
});

async function expectNoPins(): Promise<void> {
  expect(await pins()).toBe(pinsBefore);
}

describe('a client that listens', () => {
  test('has no connection, and is told', async () => {
    using client = await berth().login();
    expect((await client.query('listen jobs')).map(formatMessage)).toEqual([
      'CommandComplete LISTEN',
      'ReadyForQuery I',
    ]);
    await untilAllReturned(berth());
    for (let round = 0; round < 10; round++) {
      await notify('jobs', `round ${round}`);
      expect(await told(client)).toBe(`round ${round}`);
    }
    expect(await berth().metric('berth_listening_connections')).toBe(1);
    await untilMetric(berth(), 'berth_notification_subscriptions', 1);
    await expectNoPins();
    await client.end();
    await untilMetric(berth(), 'berth_notification_subscriptions', 0);
  });

  test.each([
    ['simple', [[query('listen ways')]]],
    ['extended', [[parse('', 'listen ways'), bind(), execute(), sync()]]],
    [
      'extended, step by step',
      [
        [parse('', 'listen ways'), sync()],
        [bind(), execute(), sync()],
      ],
    ],
    [
      'named',
      [
        [parse('s', 'listen ways'), describeMessage('statement', 's'), sync()],
        [bind({ statement: 's' }), execute(), sync()],
      ],
    ],
    ['simple, with a comment', [[query('/* jobs */ LISTEN Ways; -- all')]]],
  ] as [string, Buffer[][]][])('%s', async (_way, steps) => {
    using client = await berth().login();
    for (const step of steps) {
      client.send(...step);
      expect(sqlStates(await client.untilReady())).toEqual([]);
    }
    await notify('ways', 'heard');
    expect(await told(client)).toBe('heard');
    await untilAllReturned(berth());
    await expectNoPins();
  });

  test('is told once, however often it listens', async () => {
    using client = await berth().login();
    await client.query('listen twice; listen twice');
    await client.query('listen twice');
    await notify('twice', 'once');
    expect(await toldSoFar(client, 'twice')).toEqual(['once']);
    await expectNoPins();
  });

  test('hears names as the server reads them', async () => {
    using client = await berth().login();
    const long = 'n'.repeat(80);
    await client.query(`listen Folded; listen "Quoted ""x"""; listen ${long}`);
    await notify('folded', '1');
    expect(await told(client)).toBe('1');
    await notify('Quoted "x"', '2');
    expect(await told(client)).toBe('2');
    await notify(long.slice(0, 63), '3');
    expect(await told(client)).toBe('3');
    await client.query('listen "Kanäle"');
    await notify('Kanäle', '4');
    expect(await told(client)).toBe('4');
    await expectNoPins();
  });

  test.each([0, 1, 100, 4_000, 7_999])('a payload of %d bytes', async (length) => {
    using client = await berth().login();
    using direct = await loginDirectly(database());
    const payload = 'x'.repeat(length);
    for (const each of [client, direct]) await each.query('listen sizes');
    await notify('sizes', payload);
    expect(await told(client)).toBe(payload);
    expect(await told(direct)).toBe(payload);
  });

  test('is one of many: what the channel is told, all are', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => berth().login()));
    await Promise.all(clients.map((client) => client.query('listen everybody')));
    await notify('everybody', 'all of you');
    for (const client of clients) expect(await told(client)).toBe('all of you');
    await clients[0]?.query('unlisten everybody');
    await notify('everybody', 'the others');
    for (const client of clients.slice(1)) expect(await told(client)).toBe('the others');
    expect(clients[0]?.unread).toEqual([]);
    await expectNoPins();
    for (const client of clients) await client.end();
  });

  test('of another database hears another channel of the same name', async () => {
    using client = await berth().login();
    using other = await berth().login({ database: 'second' });
    await client.query('listen same');
    await other.query('listen same');
    await adminQuery(database(), "notify same, 'second'", 'second');
    await notify('same', 'app');
    expect(await told(client)).toBe('app');
    expect(await told(other)).toBe('second');
  });

  test('as another user hears the same', async () => {
    using client = await berth().login();
    using other = await berth().login({ user: 'other' });
    await client.query('listen users');
    await other.query('listen users');
    await other.query("notify users, 'from other'");
    expect(await told(client)).toBe('from other');
  });
});

describe('transactions', () => {
  test('a LISTEN that is rolled back never listens', async () => {
    using client = await berth().login();
    await client.query('begin');
    await client.query('listen undone');
    await notify('undone', 'too early');
    await client.query('rollback');
    await notify('undone', 'not heard');
    await client.query('listen undone');
    expect(await toldSoFar(client, 'undone')).toEqual([]);
    await expectNoPins();
  });

  test.each([
    ['simple', [query('listen behind')]],
    ['extended', [parse('', 'listen behind'), bind(), execute(), sync()]],
    ['extended, twice', [parse('', 'listen behind'), bind(), execute(), bind(), execute(), sync()]],
  ])('a LISTEN in the same breath as the rollback of another: %s', async (_way, messages) => {
    using client = await berth().login();
    using other = await berth().login();
    await other.query('listen behind');
    await client.query('begin');
    await client.query('listen behind');
    await notify('behind', 'too early');
    // What the other one has been told, the proxy has heard.
    expect(await told(other)).toBe('too early');
    client.send(query('rollback'), ...messages);
    expect(sqlStates(await client.untilReady(2))).toEqual([]);
    expect(await toldSoFar(client, 'behind')).toEqual([]);
    await expectNoPins();
  });

  test('a LISTEN that fails with its transaction never listens', async () => {
    using client = await berth().login();
    await client.query('begin');
    await client.query('listen failed');
    expect(sqlStates(await client.query('select 1/0'))).toEqual(['22012']);
    await client.query('commit');
    await notify('failed', 'not heard');
    await client.query('listen failed');
    expect(await toldSoFar(client, 'failed')).toEqual([]);
  });

  test('a LISTEN is heard from its COMMIT on', async () => {
    using client = await berth().login();
    using other = await berth().login();
    await other.query('listen late');
    await client.query('begin');
    await client.query('listen late');
    await notify('late', 'too early');
    await client.query('select 1');
    await notify('late', 'too early as well');
    // What the other one has been told, the proxy has heard.
    expect(await told(other)).toBe('too early');
    expect(await told(other)).toBe('too early as well');
    await client.query('select 1');
    await client.query('commit');
    expect(await toldSoFar(client, 'late')).toEqual([]);
    await notify('late', 'heard');
    expect(await told(client)).toBe('heard');
    await expectNoPins();
  });

  test('to a savepoint: what was listened to before it stays', async () => {
    using client = await berth().login();
    await client.query('begin');
    await client.query('listen before');
    await client.query('savepoint s');
    await client.query('listen after');
    await client.query('rollback to s; commit');
    await notify('after', 'not heard');
    await notify('before', 'heard');
    expect(await told(client)).toBe('heard');
  });

  test('nothing is told in a transaction; before its end, all of it', async () => {
    using client = await berth().login();
    using other = await berth().login();
    await other.query('listen meanwhile');
    await client.query('listen meanwhile');
    await client.query('begin');
    await notify('meanwhile', '1');
    await notify('meanwhile', '2');
    // What the other one has been told, the proxy has heard.
    expect([await told(other), await told(other)]).toEqual(['1', '2']);
    expect((await client.query('select 1')).some(({ type }) => type === 'A')).toBe(false);
    const answer = (await client.query('commit')).map(formatMessage);
    expect(answer).toEqual([
      'CommandComplete COMMIT',
      'NotificationResponse channel="meanwhile" payload="1"',
      'NotificationResponse channel="meanwhile" payload="2"',
      'ReadyForQuery I',
    ]);
    await expectNoPins();
  });

  test('UNLISTEN that is rolled back goes on listening', async () => {
    using client = await berth().login();
    await client.query('listen stays');
    await client.query('begin; unlisten stays; rollback');
    await client.query('begin');
    await client.query('unlisten *');
    expect(sqlStates(await client.query('select 1/0'))).toEqual(['22012']);
    await client.query('commit');
    await notify('stays', 'heard');
    expect(await told(client)).toBe('heard');
    await expectNoPins();
  });
});

describe('UNLISTEN', () => {
  async function listening(): Promise<RawClient> {
    const client = await berth().login();
    await client.query('listen one; listen two; listen three');
    return client;
  }

  test.each([
    ['one', [[query('unlisten one')]]],
    ['one, extended', [[parse('', 'unlisten one'), bind(), execute(), sync()]]],
    ['one, named', [[parse('u', 'unlisten one'), bind({ statement: 'u' }), execute(), sync()]]],
    ['one, in a transaction', [[query('begin')], [query('unlisten one')], [query('commit')]]],
    ['one, among others', [[query("begin; unlisten one; select 'unlisten'; commit")]]],
  ] as [string, Buffer[][]][])('%s', async (_way, steps) => {
    using client = await listening();
    for (const step of steps) {
      client.send(...step);
      expect(sqlStates(await client.untilReady())).toEqual([]);
    }
    await untilMetric(berth(), 'berth_notification_subscriptions', 2);
    await notify('one', 'not heard');
    expect(await toldSoFar(client, 'two')).toEqual([]);
    await expectNoPins();
    await client.end();
    await untilMetric(berth(), 'berth_notification_subscriptions', 0);
  });

  test.each(['unlisten *', 'discard all'])('everything: %s', async (sql) => {
    using client = await listening();
    expect(sqlStates(await client.query(sql))).toEqual([]);
    await untilMetric(berth(), 'berth_notification_subscriptions', 0);
    await notify('one', 'not heard');
    await client.query('listen two');
    expect(await toldSoFar(client, 'two')).toEqual([]);
    await client.end();
    await untilMetric(berth(), 'berth_notification_subscriptions', 0);
  });

  test('and LISTEN again in one transaction: the last word counts', async () => {
    using client = await listening();
    await client.query('unlisten one; listen one; listen four; unlisten four');
    await notify('four', 'not heard');
    await notify('one', 'heard');
    expect(await told(client)).toBe('heard');
  });
});

describe('what a client notifies itself', () => {
  test('comes before the end of the answer, as from a server', async () => {
    const texts = [
      'listen self',
      "notify self, '1'",
      "select pg_notify('self', '2')",
      "begin; notify self, '3'; notify self, '4'; commit",
      "begin; notify self, 'lost'; rollback",
      'notify self; select 1',
    ];
    for (let round = 0; round < 10; round++) {
      await compare(
        database(),
        berth(),
        texts.map((text) => [[query(text)], 'Z']),
      );
    }
    await expectNoPins();
  });

  test('has the process id that the client was given; of others it has another', async () => {
    using client = await berth().login();
    using other = await berth().login();
    await client.query('listen pids');
    await other.query('listen pids');
    client.send(query("notify pids, 'mine'"));
    const [mine] = (await client.untilReady()).filter(({ type }) => type === 'A');
    expect(mine?.body.readInt32BE(0)).toBe(client.backendPid);
    const fromOther = await other.next();
    expect(fromOther.body.readInt32BE(0)).toBe(client.backendPid);
    await notify('pids', 'of somebody');
    const foreign = await client.next();
    expect(foreign.body.readInt32BE(0)).not.toBe(client.backendPid);
    expect(foreign.body.readInt32BE(0)).not.toBe(other.backendPid);
  });

  test('in a pipeline loses nothing and mixes nothing up', async () => {
    using client = await berth().login();
    await client.query('listen piped');
    const texts = Array.from({ length: 20 }, (_, n) =>
      n % 2 === 0 ? `notify piped, '${n}'` : `select ${n}`,
    );
    client.send(...texts.map((text) => query(text)));
    const answer = await client.untilReady(20);
    expect(textRows(answer)).toEqual(Array.from({ length: 10 }, (_, n) => [`${2 * n + 1}`]));
    const rest = await toldSoFar(client, 'piped');
    expect([...payloadsOf(answer), ...rest]).toEqual(
      Array.from({ length: 10 }, (_, n) => `${2 * n}`),
    );
  });
});

describe('nobody else hears', () => {
  test('what was listened to on the connection before', async () => {
    using listener = await berth().login();
    await listener.query('listen private');
    await listener.end();
    const clients = await Promise.all([1, 2].map(() => berth().login()));
    await notify('private', 'secret');
    await Promise.all(clients.map((client) => client.query('begin')));
    for (const client of clients) {
      const rows = textRows(await client.query('select pg_listening_channels()'));
      expect(rows).toEqual([]);
      expect(client.received.some(({ type }) => type === 'A')).toBe(false);
      await client.query('commit');
      await client.end();
    }
  });

  test('when the client leaves in the middle', async () => {
    for (const messages of [
      [query('listen private')],
      [query('begin'), query('listen private')],
      [parse('', 'listen private'), bind(), execute()],
    ]) {
      using client = await berth().login();
      client.send(...messages);
      client.destroy();
    }
    await untilAllReturned(berth());
    const clients = await Promise.all([1, 2].map(() => berth().login()));
    await Promise.all(clients.map((client) => client.query('begin')));
    for (const client of clients) {
      expect(textRows(await client.query('select pg_listening_channels()'))).toEqual([]);
      await client.end();
    }
    await untilMetric(berth(), 'berth_notification_subscriptions', 0);
  });
});

describe('the listening connection', () => {
  test('is opened again when it dies, and nobody has to listen again', async () => {
    berth().expectLog('listener.lost');
    using client = await berth().login();
    await client.query('listen lasting');
    const opened = berth().logged('listener.opened').length;
    await adminQuery(
      database(),
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'berth-listener' and datname = 'app'",
    );
    await berth().untilLogged('listener.opened', opened + 1);
    // The LISTEN after the log-in may still be on its way.
    const heard = await eventually(async () => {
      await notify('lasting', 'again');
      return client.unread.find(({ type }) => type === 'A');
    }, 'a notification');
    expect(payloadsOf([heard])).toEqual(['again']);
  });
});

describe('a client that does not read', () => {
  test('loses notifications, is counted and told about once; others lose none', async () => {
    berth().expectLog('notifications.dropped');
    using slow = await berth().login();
    using quick = await berth().login();
    await slow.query('listen flood');
    await quick.query('listen flood');
    slow.socket.pause();
    const before = await berth().metric('berth_notifications_dropped_total');
    const rounds = 10;
    for (let round = 0; round < rounds; round++) {
      await adminQuery(
        database(),
        `select pg_notify('flood', '${round}:' || n || repeat('x', 7900)) from generate_series(1, 200) n`,
      );
    }
    await eventually(
      async () =>
        (await berth().metric('berth_notifications_dropped_total')) > before ? true : undefined,
      'dropped notifications',
    );
    await notify('flood', 'the last');
    await quick.until('A', rounds * 200 + 1);
    expect(berth().logged('notifications.dropped')).toHaveLength(1);
    slow.socket.resume();
    // It has caught up when it is told something new.
    await eventually(async () => {
      await notify('flood', 'caught up');
      return payloadsOf(slow.received).includes('caught up') ? true : undefined;
    }, 'the slow client');
    expect(payloadsOf(slow.received).length).toBeLessThan(rounds * 200);
    expect(textRows(await slow.query('select 1'))).toEqual([['1']]);
  });
});

describe('a small pool', () => {
  const small = useBerth(() => ({ database: database(), pool: { MaxConnections: 2 } }));

  test('of 2 serves 20 clients that listen, notify and work, with no pins', async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => small().login()));
    await Promise.all(
      clients.map(async (client, n) => {
        await client.query(`listen all_of_us; listen only_${n}`);
        for (let round = 0; round < 5; round++) {
          expect(textRows(await client.query(`select ${n}`))).toEqual([[`${n}`]]);
          const answer = await client.query(`begin; notify only_${n}, '${round}'; commit`);
          expect(payloadsOf(answer)).toEqual([`${round}`]);
        }
      }),
    );
    await notify('all_of_us', 'everybody');
    for (const client of clients) expect(await told(client)).toBe('everybody');
    expect(await pins(small())).toBe(0);
    expect(await small().metric('database_connections')).toBe(1);
    expect(await small().metric('berth_listening_connections')).toBe(1);
    await untilMetric(small(), 'berth_notification_subscriptions', 40);
    for (const client of clients) await client.end();
    await untilMetric(small(), 'berth_notification_subscriptions', 0);
  });

  test('listens on one database only; on another it pins', async () => {
    using client = await small().login();
    await client.query('listen here');
    using other = await small().login({ database: 'second' });
    small().expectLog('session.pinned');
    expect(sqlStates(await other.query('listen there'))).toEqual([]);
    await untilMetric(small(), 'berth_session_pins_total', 1, { reason: 'listen' });
    await adminQuery(database(), "notify there, 'heard'", 'second');
    expect(await told(other)).toBe('heard');
    await other.end();
    await notify('here', 'heard');
    expect(await told(client)).toBe('heard');
  });
});

describe('what pins nevertheless', () => {
  const strict = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: 4 },
    expect: ['session.pinned'],
  }));
  const off = useBerth(() => ({
    database: database(),
    pool: { MaxConnections: 4 },
    proxy: { NotificationFanOut: false },
    expect: ['session.pinned'],
  }));

  test.each(['listen mixed; select 1', 'begin; listen mixed; commit', 'listen U&"mixed"'])(
    '%s',
    async (sql) => {
      using client = await strict().login();
      const before = await pins(strict());
      expect(sqlStates(await client.query(sql))).toEqual([]);
      await untilMetric(strict(), 'berth_session_pins_total', before + 1);
      await notify('mixed', 'heard');
      expect(await told(client)).toBe('heard');
    },
  );

  test('until it is unlistened', async () => {
    using client = await strict().login();
    await client.query('begin; listen briefly; commit');
    await untilMetric(strict(), 'database_connections_currently_session_pinned', 1);
    await client.query('unlisten briefly');
    await untilAllReturned(strict());
    await client.query('listen briefly');
    await notify('briefly', 'heard');
    expect(await told(client)).toBe('heard');
    await untilAllReturned(strict());
  });

  test('another client encoding than that of the database', async () => {
    using client = await strict().login({ parameters: { client_encoding: 'LATIN1' } });
    await client.query('listen encoded');
    await untilMetric(strict(), 'database_connections_currently_session_pinned', 1);
    await notify('encoded', 'ä');
    const message = await client.next();
    expect(message.body.subarray(-2)).toEqual(Buffer.from([0xe4, 0]));
  });

  test('a pinned session hears each channel once, whoever listens to it', async () => {
    using client = await strict().login();
    await client.query('listen shared');
    await client.query('create temp table pinning (id int)');
    await client.query('listen shared; listen own');
    await notify('own', '1');
    expect(await told(client)).toBe('1');
    await notify('shared', '2');
    expect(await told(client)).toBe('2');
    await notify('own', '3');
    expect(await told(client)).toBe('3');
    await client.query('unlisten shared');
    await notify('shared', 'not heard');
    await notify('own', '4');
    expect(await told(client)).toBe('4');
  });

  test('everything, when the setting is off', async () => {
    using client = await off().login();
    await client.query('listen off');
    await untilMetric(off(), 'berth_session_pins_total', 1, { reason: 'listen' });
    expect(await off().metric('berth_listening_connections')).toBe(0);
    await notify('off', 'heard');
    expect(await told(client)).toBe('heard');
  });
});

describe('drivers', () => {
  const address = () => ({
    host: '127.0.0.1',
    port: berth().port,
    user: 'app',
    password: 'app-password',
    database: 'app',
  });

  test('node-postgres', async () => {
    const client = new pg.Client(address());
    await client.connect();
    // Not in the types of the driver.
    const { processID } = client as unknown as { readonly processID: number };
    const heard = new Arrivals<string>();
    client.on('notification', ({ channel, payload, processId }) => {
      heard.push(`${channel} ${payload} ${processId === processID ? 'mine' : 'theirs'}`);
    });
    await client.query('LISTEN pg_events');
    await notify('pg_events', 'one');
    const one = () => (heard.all.length === 1 ? true : undefined);
    await heard.until(one, 'a notification');
    await client.query('SELECT pg_notify($1, $2)', ['pg_events', 'two']);
    expect(heard.all).toEqual(['pg_events one theirs', 'pg_events two mine']);
    await client.query('UNLISTEN pg_events');
    await client.query('NOTIFY pg_events');
    expect(heard.all).toHaveLength(2);
    await client.end();
    await expectNoPins();
  });

  test('postgres', async () => {
    const sql = postgres({ ...address(), max: 2, onnotice: () => undefined });
    const heard = new Arrivals<string>();
    const { unlisten } = await sql.listen('pg_events', (payload) => heard.push(payload));
    await sql.listen('pg_others', (payload) => heard.push(`other ${payload}`));
    for (let round = 0; round < 5; round++) {
      await sql.notify('pg_events', `${round}`);
      const told = () => (heard.all.at(-1) === `${round}` ? true : undefined);
      await heard.until(told, `notification ${round}`);
    }
    await unlisten();
    await sql.notify('pg_events', 'not heard');
    await sql.notify('pg_others', 'the last');
    const last = () => (heard.all.at(-1) === 'other the last' ? true : undefined);
    await heard.until(last, 'the last one');
    expect(heard.all).toHaveLength(6);
    await sql.end();
    await expectNoPins();
  });
});

describe('a changed configuration', () => {
  test('moves the listening connection away from a user that was removed', async () => {
    await using proxy = await Berth.start({ database: database(), pool: { MaxConnections: 4 } });
    await adminQuery(database(), 'create database renewed');
    using client = await proxy.login({ database: 'renewed' });
    await client.query('listen changing');
    using other = await proxy.login({ user: 'other', database: 'renewed' });
    await other.query('listen elsewhere');
    await other.end();
    const listening = async () => {
      const rows = await adminQuery(
        database(),
        "select usename from pg_stat_activity where application_name = 'berth-listener' and datname = 'renewed'",
      );
      return rows.map(({ usename }) => usename);
    };
    const [user] = await listening();
    expect(user).toBe('app');
    const left = { ...proxy.configuration, DBProxies: withoutUser(proxy, 'app') };
    using stays = await proxy.login({ user: 'other', database: 'renewed' });
    await stays.query('listen changing');
    await proxy.reload(left);
    await proxy.untilLogged('listener.opened', 2);
    expect(await eventually(async () => (await listening())[0] ?? undefined, 'a user')).toBe(
      'other',
    );
    await eventually(async () => {
      await adminQuery(database(), "notify changing, 'heard'", 'renewed');
      return stays.unread.some(({ type }) => type === 'A') ? true : undefined;
    }, 'a notification');
  });
});

function withoutUser(proxy: Berth, user: string): Configuration['DBProxies'] {
  return proxy.configuration.DBProxies.map((each) => {
    const { Auth } = each;
    if (!Array.isArray(Auth)) throw new Error('there is no Auth');
    return { ...each, Auth: Auth.filter(({ SecretArn }) => SecretArn !== user) };
  });
}
