/**
 * What servers say that cannot be brought about at will: a real server says everything else, and a relay
 * before it changes single packets. Statements that are to be prepared again (MY-45), and servers that
 * know nothing of DEPRECATE_EOF before clients that do (MY-21).
 */

import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { Berth } from '../harness/berth.ts';
import * as commands from '../harness/mysql/commands.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { CAPABILITY, COMMAND } from '../harness/mysql/constants.ts';
import {
  formatAnswer,
  type MysqlAddress,
  MysqlRawClient,
  mustSucceed,
  rowsOf,
  statementOf,
} from '../harness/mysql/raw-client.ts';
import { type Rewrite, RewritingRelay } from '../harness/mysql/rewriting-relay.ts';
import { describeServers, loginOf, mysqlAdmin, useMysql } from '../harness/mysql/server.ts';

setDefaultTimeout(60_000);

const NEED_REPREPARE = Buffer.concat([
  Buffer.from([0xff, 0x4f, 0x06]),
  Buffer.from('#HY000Prepared statement needs to be re-prepared'),
]);

/** Behind the version: a number of four bytes, eight of the challenge, a zero, two of capabilities, three others. */
const UPPER_CAPABILITIES_AFTER_VERSION = 4 + 8 + 1 + 2 + 3;
const UPPER_BITS = 16;

/** The greeting of a server that has all but `capability`, one of the upper ones. */
function without(greeting: Buffer, capability: number): Buffer {
  const changed = Buffer.from(greeting);
  const at = changed.indexOf(0, 1) + 1 + UPPER_CAPABILITIES_AFTER_VERSION;
  changed.writeUInt16LE(changed.readUInt16LE(at) & ~(capability >>> UPPER_BITS), at);
  return changed;
}

describeServers('behind a relay', (server) => {
  const database = useMysql(server, { tls: false, settings: { thread_cache_size: 0 } });
  let rewrite: Rewrite = ({ payload }) => payload;
  let relay: RewritingRelay | undefined;
  const berths: Berth[] = [];

  beforeAll(async () => {
    relay = await RewritingRelay.start(database().port, (packet, connection) =>
      rewrite(packet, connection),
    );
  });

  afterEach(async () => {
    for (const berth of berths.splice(0)) await berth.stop();
    rewrite = ({ payload }) => payload;
  });

  afterAll(() => relay?.stop());

  async function startBerth(): Promise<Berth> {
    const configuration = makeMysqlConfiguration(database(), {
      pool: { MaxConnections: 2 },
      port: relay?.port ?? 0,
    });
    const berth = await Berth.start({ configuration });
    berths.push(berth);
    return berth;
  }

  /** Each execution up to the number `last` is told to be prepared again. */
  function refuseExecutions(last: number): { count: number } {
    const refused = { count: 0 };
    let spoilt: Buffer | undefined;
    rewrite = ({ sequence, payload }, { lastCommand }) => {
      if (lastCommand?.[0] !== COMMAND.STMT_EXECUTE) return payload;
      if (sequence !== 1) return lastCommand === spoilt ? undefined : payload;
      if (refused.count >= last) return payload;
      refused.count++;
      spoilt = lastCommand;
      return NEED_REPREPARE;
    };
    return refused;
  }

  /** Executes on another connection than the one that it has prepared on. */
  async function executeElsewhere(port: number, last: number) {
    using client = await MysqlRawClient.login({ port }, loginOf());
    using other = await MysqlRawClient.login({ port }, loginOf());
    const id = statementOf(await client.prepare('select ? + 1'));
    mustSucceed(await other.query('begin'));
    const refused = refuseExecutions(last);
    const answer = await client.execute(id, [1]);
    expect(refused.count).toBe(last);
    const again = await client.execute(id, [2]);
    mustSucceed(await other.query('rollback'));
    await other.end();
    await client.end();
    return { answer, again };
  }

  test('what the proxy has prepared, and is to be prepared again, is: once', async () => {
    const berth = await startBerth();
    const { answer, again } = await executeElsewhere(berth.port, 1);
    expect(rowsOf(mustSucceed(answer))).toEqual([['2']]);
    expect(rowsOf(mustSucceed(again))).toEqual([['3']]);
    expect(await berth.metric('berth_session_pins_total')).toBe(0);
  });

  test('the second time the client is told', async () => {
    const berth = await startBerth();
    const { answer, again } = await executeElsewhere(berth.port, 2);
    expect(formatAnswer(answer)).toContain('ERR 1615');
    expect(rowsOf(mustSucceed(again))).toEqual([['3']]);
  });

  test('a server without DEPRECATE_EOF is not said to have it, and answers as itself', async () => {
    await mysqlAdmin(
      database(),
      `drop table if exists app.old; create table app.old (id int);
       insert into app.old values (1), (2), (3); drop procedure if exists app.two_results;
       create procedure app.two_results() begin select 1; select 2; end`,
    );
    rewrite = ({ payload }, { hasGreeted }) =>
      hasGreeted ? payload : without(payload, CAPABILITY.DEPRECATE_EOF);
    const berth = await startBerth();
    const port = relay?.port ?? 0;
    const direct = await transcript({ port });
    const through = await transcript({ port: berth.port });
    expect(through).toEqual(direct);
    expect(direct.join('\n')).toContain('EOF');
    expect(direct.join('\n')).not.toContain('End rows');
  });
});

/** Answers of every shape, to a client that has DEPRECATE_EOF where it is offered. */
async function transcript(address: MysqlAddress): Promise<string[]> {
  using client = await MysqlRawClient.login(address, loginOf());
  expect(client.capabilities & CAPABILITY.DEPRECATE_EOF).toBe(0);
  const answers = [
    await client.query('select * from old order by id; select 2; insert into old values (4)'),
    await client.query('select * from old where id < 0'),
    await client.query('select * from nowhere'),
    await client.query('call two_results()'),
  ];
  const id = statementOf(await client.prepare('select id, ? from old order by id'));
  answers.push(await client.execute(id, ['x']));
  answers.push(await client.execute(id, ['y'], { cursor: 1 }));
  for (const count of [2, 5]) {
    answers.push(await client.command(commands.fetchRows(id, count), 'rows'));
  }
  mustSucceed(await client.query('delete from old where id = 4'));
  await client.end();
  return answers.map(formatAnswer);
}
