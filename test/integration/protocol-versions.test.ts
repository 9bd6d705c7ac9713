/**
 * PG-07, PG-08, PG-09 on both sides at once: clients of protocol 3.0 and 3.2 before databases of either,
 * and databases that refuse a version that they do not know.
 */

import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { reachedAt, untilRunning } from '../faults/activity.ts';
import { sqlStates, textRows } from '../harness/backend-messages.ts';
import { Berth } from '../harness/berth.ts';
import { within } from '../harness/deadline.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { availablePostgres, type PostgresChoice, usePostgres } from '../harness/postgres.ts';
import {
  hasProgram,
  type ProgramOptions,
  programEnvironment,
  skipBecause,
} from '../harness/programs.ts';
import {
  fields,
  ScriptedDatabase,
  type ScriptedSession,
  selected,
  welcome,
} from '../harness/scripted-database.ts';
import { Wiretap } from '../harness/wiretap.ts';

setDefaultTimeout(30_000);

const SSL_REQUEST_LENGTH = 8;
const CANCEL_REQUEST = 80_877_102;
/** Before the key: length, code, process id. */
const CANCEL_HEADER_LENGTH = 12;
const { PROTOCOL_3_0, PROTOCOL_3_2 } = frontend;

/** The first packets that were sent to the database, without the request for TLS before each. */
function firstPackets(wiretap: Wiretap): Buffer[] {
  const packets = wiretap.sentByClients().map((bytes) => bytes.subarray(SSL_REQUEST_LENGTH));
  return packets.filter(({ length }) => length > 8);
}

function keyLengthOf(choice: PostgresChoice): number {
  return Number(/\d+/.exec(choice.name)) >= 18 ? 32 : 4;
}

for (const choice of availablePostgres()) {
  describe(choice.name, () => {
    const database = usePostgres(choice.options);
    const keyLength = keyLengthOf(choice);

    for (const protocol of [PROTOCOL_3_0, PROTOCOL_3_2]) {
      test(`PG-08 a client of 3.${protocol & 0xffff}: statements, and a cancel with keys of the right lengths`, async () => {
        const wiretap = await Wiretap.start(database().port);
        await using berth = await Berth.start({
          database: database(),
          file: reachedAt(wiretap.port),
        });
        using client = await berth.login({ protocol });
        expect(client.backendSecret).toHaveLength(protocol === PROTOCOL_3_2 ? 32 : 4);
        expect(client.received.filter(({ type }) => type === 'v')).toEqual([]);
        client.send(frontend.query('select pg_sleep(60)'));
        await untilRunning(database(), 'pg_sleep(60)');
        await client.cancel();
        expect(sqlStates(await client.untilReady())).toEqual(['57014']);
        expect(textRows(await client.query("select 'on'"))).toEqual([['on']]);
        const packets = firstPackets(wiretap);
        const cancels = packets.filter((packet) => packet.readInt32BE(4) === CANCEL_REQUEST);
        expect(cancels.map(({ length }) => length)).toEqual([CANCEL_HEADER_LENGTH + keyLength]);
        const startups = packets.filter((packet) => packet.readInt32BE(4) !== CANCEL_REQUEST);
        expect(new Set(startups.map((packet) => packet.readInt32BE(4)))).toEqual(
          new Set([PROTOCOL_3_2]),
        );
        wiretap.stop();
      });
    }
  });
}

describe('libpq of PostgreSQL 18, protocol 3.2 and nothing less', () => {
  const database = usePostgres();

  /** psql of any version, with the libpq that comes with the embedded PostgreSQL. */
  function environment(berth: Berth): Record<string, string> {
    const options: ProgramOptions = {
      port: berth.port,
      environment: {
        LD_LIBRARY_PATH: join(dirname(database().installation.binDirectory), 'lib'),
        PGMINPROTOCOLVERSION: '3.2',
        PGMAXPROTOCOLVERSION: '3.2',
      },
    };
    return programEnvironment(options);
  }

  function psql(berth: Berth, sql: string) {
    const args = ['--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--command', sql];
    const child = spawn('psql', args, { env: environment(berth), stdio: 'pipe' });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
      });
    }
    const ended = new Promise<string>((resolve) => child.on('close', () => resolve(output)));
    return { child, ended };
  }

  const name = 'PG-07 PG-08 psql logs in, asks, and cancels with Ctrl-C';
  if (!hasProgram('psql')) skipBecause('no psql', name);
  else
    test(name, async () => {
      await using berth = await Berth.start({ database: database() });
      expect(await within(psql(berth, "select 'through'").ended, 'psql')).toBe('through\n');
      const sleeping = psql(berth, 'select pg_sleep(60)');
      await untilRunning(database(), 'pg_sleep(60)');
      sleeping.child.kill('SIGINT');
      expect(await within(sleeping.ended, 'psql')).toContain(
        'canceling statement due to user request',
      );
    });
});

describe('databases that refuse 3.2', () => {
  const database = usePostgres();
  const berths: Berth[] = [];
  const databases: ScriptedDatabase[] = [];

  afterEach(async () => {
    for (const berth of berths.splice(0)) await berth.stop();
    for (const scripted of databases.splice(0)) await scripted.stop();
  });

  /** A database that turns 3.2 away, the versions that it was asked for, and a proxy before it. */
  async function before(turnAway: (session: ScriptedSession) => void) {
    const asked: number[] = [];
    const scripted = await ScriptedDatabase.start(
      async (session) => {
        session.send(...welcome());
        await session.answerQueries(() => selected(['served']));
      },
      {
        turnsAway: (session) => {
          asked.push(session.protocol);
          if (session.protocol === PROTOCOL_3_0) return false;
          turnAway(session);
          session.end();
          return true;
        },
      },
    );
    databases.push(scripted);
    const berth = await Berth.start({ database: database(), file: reachedAt(scripted.port) });
    berths.push(berth);
    return { berth, asked };
  }

  const refusals: Record<string, readonly string[]> = {
    'as PostgreSQL before 9.3.21': [
      'SFATAL',
      'C0A000',
      'Munsupported frontend protocol 3.2: server supports 1.0 to 3.0',
    ],
    'as some poolers': ['SFATAL', 'C08P01', 'Munsupported protocol version'],
    'without an SQLSTATE': ['SFATAL', 'Mno'],
  };
  for (const [how, refusal] of Object.entries(refusals)) {
    test(`PG-07 with an error, ${how}: 3.0 is asked for, and remembered`, async () => {
      const { berth, asked } = await before((session) => session.send(fields('E', ...refusal)));
      using client = await berth.login();
      expect(textRows(await client.query('select 1'))).toEqual([['served']]);
      // The monitor and the client may have come at the same time; nobody who comes later tries.
      const tries = asked.filter((version) => version === PROTOCOL_3_2).length;
      expect(tries).toBeGreaterThanOrEqual(1);
      expect(tries).toBeLessThanOrEqual(2);
      await client.query('begin');
      using second = await berth.login({ parameters: { application_name: 'second' } });
      expect(textRows(await second.query('select 1'))).toEqual([['served']]);
      expect(asked.filter((version) => version === PROTOCOL_3_2)).toHaveLength(tries);
      expect(berth.logged('connection.open_failed')).toEqual([]);
      // Scripted as it is, it does not know of transactions.
      client.destroy();
    });
  }

  test('PG-07 without a word', async () => {
    const { berth, asked } = await before(() => undefined);
    using client = await berth.login();
    expect(textRows(await client.query('select 1'))).toEqual([['served']]);
    expect(asked).toContain(PROTOCOL_3_2);
    expect(berth.logged('connection.open_failed')).toEqual([]);
  });

  test('another error is not about the version', async () => {
    let isStarting = true;
    const asked: number[] = [];
    const scripted = await ScriptedDatabase.start(
      async (session) => {
        session.send(...welcome());
        await session.answerQueries(() => selected(['served']));
      },
      {
        turnsAway: (session) => {
          asked.push(session.protocol);
          if (!isStarting) return false;
          isStarting = false;
          session.send(fields('E', 'SFATAL', 'VFATAL', 'C57P03', 'Mstarting up'));
          session.end();
          return true;
        },
      },
    );
    databases.push(scripted);
    const berth = await Berth.start({
      database: database(),
      file: reachedAt(scripted.port),
      expect: ['connection.open_failed', 'target.health_changed'],
    });
    berths.push(berth);
    using client = await berth.login();
    expect(textRows(await client.query('select 1'))).toEqual([['served']]);
    expect(new Set(asked)).toEqual(new Set([PROTOCOL_3_2]));
  });
});
