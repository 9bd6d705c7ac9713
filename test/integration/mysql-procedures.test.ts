/**
 * MY-24: what a procedure answers with depends on what its client can read, MULTI_RESULTS and
 * PS_MULTI_RESULTS; clients of each kind share a pool's limit, and none gets what another one asked for.
 */

import { beforeAll, expect, setDefaultTimeout, test } from 'bun:test';
import { useBerth } from '../harness/berth.ts';
import { makeMysqlConfiguration } from '../harness/mysql/configuration.ts';
import { CAPABILITY } from '../harness/mysql/constants.ts';
import {
  formatAnswer,
  type MysqlAddress,
  MysqlRawClient,
  statementOf,
} from '../harness/mysql/raw-client.ts';
import {
  describeServers,
  loginOf,
  mysqlAddressOf,
  mysqlAdmin,
  useMysql,
} from '../harness/mysql/server.ts';

setDefaultTimeout(60_000);

const { MULTI_RESULTS, MULTI_STATEMENTS, PS_MULTI_RESULTS } = CAPABILITY;

const KINDS: readonly (readonly [without: string, capabilities: number])[] = [
  ['PS_MULTI_RESULTS', PS_MULTI_RESULTS],
  ['nothing', 0],
  ['MULTI_RESULTS', MULTI_RESULTS | PS_MULTI_RESULTS],
  ['MULTI_STATEMENTS either', MULTI_RESULTS | PS_MULTI_RESULTS | MULTI_STATEMENTS],
];

/** What a client without `withoutCapabilities` is told about both procedures, in both protocols. */
async function transcript(address: MysqlAddress, withoutCapabilities: number): Promise<string[]> {
  const options = { ...loginOf(), withoutCapabilities };
  using client = await MysqlRawClient.login(address, options);
  const answers = [
    await client.query('call returns_rows()'),
    await client.query('set @a = 1; call has_output(@a); select @a'),
    await client.execute(statementOf(await client.prepare('call has_output(?)')), [1]),
    await client.execute(statementOf(await client.prepare('call returns_rows()')), []),
    await client.query('select 1'),
  ];
  await client.end();
  return answers.map(formatAnswer);
}

describeServers('procedures', (server) => {
  const database = useMysql(server);
  const berth = useBerth(() => ({
    configuration: makeMysqlConfiguration(database(), { pool: { MaxConnections: 1 } }),
    expect: ['session.pinned'],
  }));

  beforeAll(async () => {
    await mysqlAdmin(
      database(),
      `use app; create procedure returns_rows() select 1 as first;
       create procedure has_output(inout a int) set a = a + 4`,
    );
  });

  test.each(KINDS)('a client without %s gets what it gets directly', async (_, capabilities) => {
    const direct = await transcript(mysqlAddressOf(database()), capabilities);
    const through = await transcript({ port: berth().port }, capabilities);
    expect(through).toEqual(direct);
    expect(direct.join('\n').includes('PS_OUT_PARAMS')).toBe(capabilities === 0);
    expect(direct.join('\n').includes('ERR 1312')).toBe((capabilities & MULTI_RESULTS) !== 0);
  });
});
