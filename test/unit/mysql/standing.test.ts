/** What MySQL and MariaDB say of their part in replication. */

import { expect, test } from 'bun:test';
import type { ServerFacts } from '../../../src/engine/mysql/login/server-facts.ts';
import {
  dialectOf,
  sourceIn,
  sourceRunning,
  transactionsIn,
} from '../../../src/engine/mysql/standing.ts';

const UUID = '3e11fa47-71ca-11e1-9e33-c80aa9429562';

test.each([
  ['nothing', '', 0],
  ['one transaction', `${UUID}:1`, 1],
  ['an interval', `${UUID}:1-5`, 5],
  ['several', `${UUID}:1-5:11-18`, 13],
  ['of several servers, as MySQL breaks the line', `${UUID}:1-5,\n${UUID}:7`, 6],
  ['with a tag', `${UUID}:1-5:blue:1-2`, 7],
  ['MariaDB', '0-1-123', 123],
  ['MariaDB, two domains', '0-1-100,1-2-7', 107],
] as const)('the transactions of %s', (_, gtids, count) => {
  expect(transactionsIn(gtids)).toBe(count);
});

function server(flavour: ServerFacts['flavour'], versionNumber: number) {
  const none = { capabilities: 0, mariadbCapabilities: 0, collation: 8, status: 0, plugin: '' };
  return { flavour, version: '', versionNumber, ...none };
}

test.each([
  [server('mysql', 80_400), 'SHOW REPLICA STATUS', 'Source_Server_Id', 'Replica_IO_Running'],
  [server('mysql', 80_021), 'SHOW SLAVE STATUS', 'Master_Server_Id', 'Slave_IO_Running'],
  [server('mariadb', 101_119), 'SHOW SLAVE STATUS', 'Master_Server_Id', 'Slave_IO_Running'],
] as const)('whom %o follows', (facts, status, serverId, receiving) => {
  const dialect = dialectOf(facts);
  expect(dialect.status).toBe(status);
  const names = ['Other', receiving, serverId, dialect.columns.lagS];
  const read = (isReceiving: string) =>
    sourceIn(dialect, names, [['x', isReceiving, '7', '3']]) ?? {};
  expect(read('Yes')).toEqual({ serverId: '7', isRunning: true, lagMs: 3_000 });
  // It goes on trying.
  expect(read('Connecting')).toMatchObject({ isRunning: true });
  expect(read('No')).toMatchObject({ isRunning: false });
  expect(sourceIn(dialect, names, [])).toBeUndefined();
});

test('without the privilege MariaDB tells whether it follows anybody', () => {
  const row = (value: string) => [['Slave_running', value]];
  expect(sourceRunning(row('ON'))).toEqual({ serverId: undefined, isRunning: true });
  expect(sourceRunning(row('OFF'))).toBeUndefined();
  expect(sourceRunning([])).toBeUndefined();
});
