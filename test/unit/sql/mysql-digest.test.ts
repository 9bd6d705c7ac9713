/** Digests of MySQL texts: readable, and without any literal. */

import { expect, test } from 'bun:test';
import { digest } from '../../../src/sql/mysql/digest.ts';
import { mariaDb, mysql } from './mysql-texts.ts';

function digestOf(text: string, maxLength?: number): string {
  return digest(Buffer.from(text), mariaDb(), maxLength);
}

const DIGESTS: Readonly<Record<string, string>> = {
  'SELECT  1': 'select ?',
  "select 'a' 'b', \"c\", x'1f', n'a', 1e-5, -1, ?": 'select ?,?,?,?,?,-?,?',
  'select `A b`, t.c from `x`.t -- secret': 'select `a b`,t.c from `x`.t',
  'select `a``b`': 'select `a``b`',
  'insert into t(a,b) values(1,2),(3,4);': 'insert into t(a,b) values(?,?),(?,?)',
  "set password for u@localhost = 'secret'": 'set password for u@localhost = ?',
  'set sql_mode = ansi, time_zone = default': 'set sql_mode = ?,time_zone = default',
  'set names utf8mb4': 'set names utf8mb4',
  "set @a = 1, @`b c` = 'x'": 'set @a = ?,@? = ?',
  'select @@session.sql_mode': 'select @@session.sql_mode',
  "set statement a = b for select 'x' from t": 'set statement a = ? for select ? from t',
  '/*!40101 SET NAMES utf8 */;': 'set names utf8',
  '/*!99999 secret */ select 1': 'select ?',
  "select 'never ends, secret": 'select ?',
  'select 1 \0 secret': 'select ? ...',
  "create user u identified by 'secret'": 'create user u identified by ?',
  '': '',
};

test('are lower case, with question marks for literals', () => {
  for (const [text, expected] of Object.entries(DIGESTS)) {
    expect({ text, digest: digestOf(text) }).toEqual({ text, digest: expected });
  }
});

test('are cut', () => {
  expect(digestOf(`select ${'a, '.repeat(1e6)}`, 20)).toBe('select a,a,a,a,a,a,a');
});

test('stop where the server may see something else', () => {
  expect(digest(Buffer.from('select $$ secret $$'), mysql())).toBe('select ...');
});
