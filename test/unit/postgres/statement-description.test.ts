/** What a statement is described as, and what the proxy asks of a database to know it. */

import { describe, expect, test } from 'bun:test';
import {
  isSameDescription,
  NO_ROWS,
  rowsIn,
} from '../../../src/engine/postgres/statement/description.ts';
import * as frontend from '../../harness/frontend-messages.ts';
import { type FakeSession, startFakeSession } from './fake-session.ts';

const { bind, cString, execute, int16, int32, message, parse, sync } = frontend;

interface Column {
  readonly name: string;
  readonly table?: number;
  readonly type?: number;
  readonly modifier?: number;
}

function rowDescription(...columns: readonly Column[]): Buffer {
  const parts = columns.flatMap(({ name, table = 0, type = 23, modifier = -1 }) => [
    ...[cString(name), int32(table), int16(table > 0 ? 1 : 0), int32(type), int16(4)],
    ...[int32(modifier), int16(0)],
  ]);
  return message('T', int16(columns.length), ...parts);
}

describe('PG-58 rows are the same', () => {
  const a = { name: 'a' };
  const rows = rowsIn(rowDescription(a, { name: 'b' }));

  test.each([
    ['as they were', [a, { name: 'b' }], true],
    ['from another table', [a, { name: 'b', table: 99 }], true],
    ['with fewer columns', [a], false],
    ['with more columns', [a, { name: 'b' }, { name: 'c' }], false],
    ['in another order', [{ name: 'b' }, a], false],
    ['with another name', [a, { name: 'B' }], false],
    ['with another type', [a, { name: 'b', type: 25 }], false],
    ['with another modifier', [a, { name: 'b', modifier: 8 }], false],
    ['without columns', [], false],
  ])('%s', (_name, columns, expected) => {
    expect(rowsIn(rowDescription(...columns)) === rows).toBe(expected);
  });

  test('no columns are not the same as no rows', () => {
    expect(rowsIn(rowDescription())).not.toBe(NO_ROWS);
  });

  test('and the parameters too', () => {
    const one = { rows: NO_ROWS, parameterTypes: Buffer.concat([int16(1), int32(23)]) };
    expect(isSameDescription(one, { ...one })).toBe(true);
    const other = Buffer.concat([int16(1), int32(25)]);
    expect(isSameDescription(one, { ...one, parameterTypes: other })).toBe(false);
  });

  test('a description that is cut anywhere is none', () => {
    const whole = rowDescription({ name: 'name' });
    for (let length = 8; length < whole.length; length++) {
      expect(rowsIn(whole.subarray(0, length))).toBeUndefined();
    }
  });
});

describe('PG-58 what is asked of the database', () => {
  const ready = message('Z', Buffer.from('I'));
  const parameters = message('t', int16(0));
  const rows = rowDescription({ name: 'n' });
  const done = message('C', cString('SELECT 0'));
  const unknown = message(
    'E',
    ...['SERROR', 'VERROR', 'C26000', 'Mdoes not exist'].map(cString),
    Buffer.alloc(1),
  );

  /** The types of the messages that the database was sent since this was last asked. */
  function asked({ database }: FakeSession): string {
    return types(database.taken());
  }

  function types(bytes: Buffer): string {
    let found = '';
    for (let at = 0; at < bytes.length; at += 1 + bytes.readInt32BE(at + 1)) {
      found += String.fromCharCode(bytes[at] ?? 0);
    }
    return found;
  }

  async function prepared(): Promise<FakeSession> {
    const fake = await startFakeSession();
    fake.client.arrives(Buffer.concat([parse('s', 'select n'), sync()]));
    expect(asked(fake)).toBe('PDS');
    fake.database.arrives(Buffer.concat([message('1'), parameters, rows, ready]));
    expect(types(fake.client.taken())).toBe('1Z');
    return fake;
  }

  const RUN = Buffer.concat([bind({ statement: 's' }), execute(), sync()]);

  test('nothing more, where the statement is', async () => {
    const fake = await prepared();
    for (let round = 0; round < 3; round++) {
      fake.client.arrives(RUN);
      expect(asked(fake)).toBe('BES');
      fake.database.arrives(Buffer.concat([message('2'), done, ready]));
      expect(types(fake.client.taken())).toBe('2CZ');
    }
    fake.client.arrives(Buffer.concat([parse('t', 'select m'), sync()]));
    expect(asked(fake)).toBe('PDS');
  });

  /** As on a connection that has never had it. */
  function forget({ connection }: FakeSession): void {
    connection.statements.lose();
  }

  test('a description before it runs, where it is not', async () => {
    const fake = await prepared();
    forget(fake);
    fake.client.arrives(RUN);
    expect(asked(fake)).toBe('PDH');
    fake.database.arrives(Buffer.concat([message('1'), parameters]));
    expect(asked(fake)).toBe('');
    fake.database.arrives(rows);
    expect(asked(fake)).toBe('BES');
    fake.database.arrives(Buffer.concat([message('2'), done, ready]));
    expect(types(fake.client.taken())).toBe('2CZ');
  });

  test('a failure, when the description is another, wherever it is cut', async () => {
    const answer = Buffer.concat([
      message('1'),
      parameters,
      rowDescription({ name: 'n' }, { name: 'm' }),
    ]);
    for (let cut = 0; cut <= answer.length; cut++) {
      const fake = await prepared();
      forget(fake);
      fake.client.arrives(RUN);
      expect(asked(fake)).toBe('PDH');
      fake.database.arrivesCut(answer, [cut]);
      // Its Bind names a statement that is not there.
      const sent = fake.database.taken();
      expect([types(sent), sent.includes('result_type_changed')]).toEqual(['BES', true]);
      fake.database.arrives(Buffer.concat([unknown, ready]));
      const told = fake.client.taken();
      expect(types(told)).toBe('EZ');
      expect(told.toString()).toContain('C0A000\0Mcached plan must not change result type\0');
    }
  });

  test('nothing that runs, when the statement cannot be prepared or described', async () => {
    for (const before of ['', '1', '1t']) {
      const fake = await prepared();
      forget(fake);
      fake.client.arrives(RUN);
      expect(asked(fake)).toBe('PDH');
      const answers = { '': [], '1': [message('1')], '1t': [message('1'), parameters] }[before];
      fake.database.arrives(Buffer.concat([...(answers ?? []), unknown]));
      // The server skips them.
      expect(asked(fake)).toBe('BES');
      fake.database.arrives(ready);
      expect(types(fake.client.taken())).toBe('EZ');
      // It is asked again the next time.
      fake.client.arrives(RUN);
      expect(asked(fake)).toBe(before === '' ? 'PDH' : 'CPDH');
    }
  });
});
