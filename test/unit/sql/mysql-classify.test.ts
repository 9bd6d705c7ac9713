/** The classifier of MySQL and MariaDB texts against tables of texts. */

import { describe, expect, test } from 'bun:test';
import { classify, killTargetsIn } from '../../../src/sql/mysql/classify.ts';
import {
  Effect,
  PINNING,
  PLAIN,
  pinReasonOf,
  READS_PREVIOUS,
  SQL_PIN_REASONS,
} from '../../../src/sql/mysql/effects.ts';
import { PlainTexts } from '../../../src/sql/mysql/plain-texts.ts';
import {
  charsetFamily,
  quotingOf,
  type Syntax,
  UNKNOWN_SYNTAX,
  versionNumber,
} from '../../../src/sql/mysql/syntax.ts';
import { REMEMBERED_TEXT_MAX } from '../../../src/sql/text-memory.ts';
import { mariaDb, mysql, namesOf, TEXTS } from './mysql-texts.ts';

function effectsIn(text: string, syntax: Syntax = mariaDb()): string {
  const bytes = Buffer.from(text, 'latin1');
  return namesOf(classify(bytes, 0, bytes.length, syntax)).join(' ');
}

describe('texts', () => {
  test('end before a zero byte that is their last', () => {
    for (const text of ['insert into t values (1)', 'select @a := 1', 'select 1 # comment', '']) {
      expect(effectsIn(`${text}\0`)).toBe(effectsIn(text));
    }
    expect(effectsIn('select 1\0 ')).toBe('unknown');
  });

  for (const [name, syntax] of [['MariaDB', mariaDb()] as const, ['MySQL', mysql()] as const]) {
    test(`are judged as the table says, for ${name} (MY-40 to MY-46)`, () => {
      const wrong = Object.entries(TEXTS).flatMap(([expected, texts]) =>
        texts
          .map((text) => ({ text, expected, found: effectsIn(text, syntax) }))
          .filter(({ found }) => found !== expected),
      );
      expect(wrong).toEqual([]);
    });
  }

  test('of every effect are in the table', () => {
    const covered = new Set(Object.keys(TEXTS).flatMap((names) => names.split(' ')));
    for (const name of Object.keys(Effect)) expect(covered).toContain(name);
  });
});

describe('conditional comments (MY-44)', () => {
  const run = 'userVariable';
  const cases: readonly (readonly [text: string, mariaDb: string, mysql: string])[] = [
    ['/*!50701 set @a = 1 */', '', run],
    ['/*!99999 set @a = 1 */', '', ''],
    ['/*!50699 set @a = 1 */', run, run],
    ['/*!100100 set @a = 1 */', run, ''],
    ['/*!101120 set @a = 1 */', '', ''],
    ['/*M! set @a = 1 */', run, ''],
    ['/*M!50701 set @a = 1 */', run, ''],
    ['/*M!101120 set @a = 1 */', '', ''],
    ["/*!99999 ' */ set @a = 1 /*!99999 ' */", run, run],
    ['/*!99999 /* */ set @a = 1 */ select 1', '', ''],
    ['/*!50001 select 1 /* x */ , @a := 1 */', run, run],
    ['select 1 /*!12 , @a := 1 */', run, run],
    ['/*m! set @a = 1 */', '', ''],
    ['/* ! set @a = 1 */', '', ''],
  ];
  test('are code where the server runs them', () => {
    for (const [text, onMariaDb, onMysql] of cases) {
      expect({ text, found: effectsIn(text, mariaDb()) }).toEqual({ text, found: onMariaDb });
      expect({ text, found: effectsIn(text, mysql()) }).toEqual({ text, found: onMysql });
    }
  });

  test('cannot be judged for a server that is not known', () => {
    for (const text of ['/*!40101 select 1 */', '/*M! select 1 */']) {
      expect(effectsIn(text, UNKNOWN_SYNTAX)).toBe('unknown');
    }
    expect(effectsIn('/*! set @a = 1 */', UNKNOWN_SYNTAX)).toBe(run);
  });

  test('before MySQL 8.0 have five digits', () => {
    expect(effectsIn('/*!507011set @a = 1 */', mysql({ version: 50_744 }))).toBe('unknown');
    expect(effectsIn('/*!50701 set @a = 1 */', mysql({ version: 50_744 }))).toBe(run);
  });

  test('hints are comments, unless a quote hides their end', () => {
    expect(effectsIn("select /*+ set_var(optimizer_switch = 'mrr=on') */ 1", mysql())).toBe('');
    expect(effectsIn('select /*+ qb_name(`*/`) */ 1, @a := 1', mysql())).toBe('unknown');
    expect(effectsIn('select /*+ qb_name(`*/ 1, @a := 1', mariaDb())).toBe(run);
  });
});

describe('modes and character sets (MY-32)', () => {
  test('decide what a quote is', () => {
    const text = 'select "\\", @a := 1 -- "';
    expect(effectsIn(text, mariaDb())).toBe('');
    expect(effectsIn(text, mariaDb({ noBackslashEscapes: true }))).toBe('userVariable');
    expect(effectsIn(text, mariaDb({ ansiQuotes: true }))).toBe('userVariable');
    expect(effectsIn('select "get_lock"(1, 1)', mariaDb({ ansiQuotes: true }))).toBe(
      'userLevelLock',
    );
    expect(effectsIn("select 1 as [']]'], @a := 1", mariaDb({ bracketQuotes: true }))).toBe(
      'userVariable',
    );
    expect(effectsIn('select @"a" := 1', mariaDb({ ansiQuotes: true }))).toBe('userVariable');
  });

  test('second bytes are no backslash where the character set says so', () => {
    const text = "select '\x95\\', @a := 1 -- '";
    for (const charset of ['gbk', 'gb18030', 'sjis'] as const) {
      expect(effectsIn(text, mariaDb({ charset }))).toBe('userVariable');
    }
    for (const charset of ['safe', 'latin', 'big5'] as const) {
      expect(effectsIn(text, mariaDb({ charset }))).toBe('');
    }
    expect(effectsIn(text.replace('\x95', '\xa5'), mariaDb({ charset: 'big5' }))).toBe(
      'userVariable',
    );
    expect(effectsIn(text, mariaDb({ charset: 'unknown' }))).toBe('unknown');
    expect(effectsIn("select '\x95\x95', 1", mariaDb({ charset: 'unknown' }))).toBe('');
    // Two bytes before it are a character of their own.
    expect(effectsIn("select '\x95\x95\\', @a := 1 -- '", mariaDb({ charset: 'gbk' }))).toBe('');
  });

  test('second bytes are no backtick either', () => {
    const text = 'select `\x95`, @a := 1 -- `';
    expect(effectsIn(text, mariaDb({ charset: 'gbk' }))).toBe('');
    expect(effectsIn(text, mariaDb({ charset: 'safe' }))).toBe('userVariable');
    expect(effectsIn(text, mariaDb({ charset: 'unknown' }))).toBe('unknown');
    expect(effectsIn('select \x95`, @a := 1 -- `', mariaDb({ charset: 'gbk' }))).toBe(
      'userVariable',
    );
  });

  test('bytes that may be spaces part words', () => {
    expect(effectsIn('set\xa0@a = 1', mariaDb({ charset: 'latin' }))).toBe('userVariable');
    expect(effectsIn('select get_lock\xa0(1, 1)', mariaDb({ charset: 'latin' }))).toBe(
      'userLevelLock',
    );
    expect(effectsIn('select 1 --\xa0', mariaDb({ charset: 'latin' }))).toBe('unknown');
  });

  test('are known by name', () => {
    expect(charsetFamily('utf8mb4')).toBe('safe');
    expect(charsetFamily('cp932')).toBe('sjis');
    expect(charsetFamily('klingon')).toBe('unknown');
  });

  test('are read from sql_mode as the server reports it', () => {
    const none = { ansiQuotes: false, noBackslashEscapes: false, bracketQuotes: false };
    expect(quotingOf('')).toEqual(none);
    expect(quotingOf('REAL_AS_FLOAT,PIPES_AS_CONCAT,ANSI_QUOTES,IGNORE_SPACE,ANSI')).toEqual({
      ...none,
      ansiQuotes: true,
    });
    expect(quotingOf('NO_BACKSLASH_ESCAPES')).toEqual({ ...none, noBackslashEscapes: true });
    expect(quotingOf('ANSI_QUOTES,MSSQL')).toEqual({
      ...none,
      ansiQuotes: true,
      bracketQuotes: true,
    });
  });

  test('versions are read from the greeting', () => {
    expect(versionNumber('5.5.5-10.11.19-MariaDB-0+deb12u1')).toBe(101_119);
    expect(versionNumber('11.4.2-MariaDB')).toBe(110_402);
    expect(versionNumber('9.4.0')).toBe(90_400);
    expect(versionNumber('8.0.36-0ubuntu0.22.04.1')).toBe(80_036);
    expect(versionNumber('5.5.5')).toBe(50_505);
    expect(versionNumber('?')).toBe(0);
  });

  test('code in another language in a text of MySQL is not judged', () => {
    expect(effectsIn("select $$ ' $$, 1", mysql())).toBe('unknown');
    expect(effectsIn('select $a, a$b$ from t', mysql())).toBe('');
    expect(effectsIn('select $$ from t', mariaDb())).toBe('');
  });
});

describe('KILL (MY-27)', () => {
  function numbersIn(text: string): readonly string[] {
    const bytes = Buffer.from(`xx${text}`);
    const targets = killTargetsIn(bytes, 2, bytes.length, mariaDb());
    return targets.map(({ from, to }) => text.slice(from, to));
  }

  test('says where the number is', () => {
    expect(numbersIn('kill 123')).toEqual(['123']);
    expect(numbersIn(' KILL /* x 7 */ QUERY 123 ;')).toEqual(['123']);
    expect(numbersIn('/*!40000 kill connection 5 */')).toEqual(['5']);
    expect(numbersIn('select 1; kill 12; kill query 34')).toEqual(['12', '34']);
    expect(numbersIn('kill soft connection 5 -- 6')).toEqual(['5']);
  });

  test('says nothing where it is none', () => {
    for (const text of [
      'kill ?',
      'kill @a',
      'kill user 5',
      'kill query id 5',
      'kill 5 + 1',
      'kill 1.5',
    ]) {
      expect({ text, numbers: numbersIn(text) }).toEqual({ text, numbers: [] });
    }
    expect(numbersIn('kill 5; kill @a')).toEqual([]);
    expect(numbersIn('select 5')).toEqual([]);
    expect(numbersIn(Array.from({ length: 9 }, () => 'kill 1').join(';'))).toEqual([]);
  });
});

describe('effects', () => {
  test('have one reason to pin, the most telling', () => {
    expect(pinReasonOf(PLAIN)).toBeUndefined();
    expect(pinReasonOf(Effect.setting | Effect.readsInsertId | Effect.mayClear)).toBeUndefined();
    expect(pinReasonOf(Effect.userVariable | Effect.temporaryTable)).toBe('temporary_object');
    const reasons = Object.values(Effect).map((bit) => pinReasonOf(bit & PINNING));
    expect(new Set(reasons.filter((reason) => reason !== undefined))).toEqual(
      new Set(SQL_PIN_REASONS),
    );
  });

  test('are different bits', () => {
    const bits = Object.values(Effect);
    expect(new Set(bits).size).toBe(bits.length);
    for (const bit of bits) expect(bit > 0 && (bit & (bit - 1)) === 0).toBe(true);
    expect(READS_PREVIOUS & PINNING).toBe(0);
  });
});

test('what is remembered changes no answer, also under another syntax', () => {
  const texts = new PlainTexts();
  const all = Object.values(TEXTS).flat();
  const syntaxes = [mariaDb(), mysql(), mariaDb({ ansiQuotes: true }), mysql({ charset: 'gbk' })];
  for (const _ of [1, 2, 3]) {
    for (const text of [...all, `select '${'x'.repeat(REMEMBERED_TEXT_MAX)}'`]) {
      const bytes = Buffer.from(text);
      for (const syntax of syntaxes) {
        const found = texts.classify(bytes, 0, bytes.length, syntax);
        expect(found).toBe(classify(bytes, 0, bytes.length, syntax));
      }
    }
  }
  const text = Buffer.from('select "\\", @a := 1 -- "');
  for (const _ of [1, 2, 3]) {
    expect(texts.classify(text, 0, text.length, mariaDb())).toBe(PLAIN);
    expect(texts.classify(text, 0, text.length, mariaDb({ ansiQuotes: true }))).toBe(
      Effect.userVariable,
    );
  }
});
