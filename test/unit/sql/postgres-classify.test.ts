/** The classifier against the corpus, and the promises of its door: `PLAIN`, ranges, settings. */

import { describe, expect, test } from 'bun:test';
import { PIN_REASONS, type PinReason } from '../../../src/observe/reasons.ts';
import { classify } from '../../../src/sql/postgres/classify.ts';
import {
  type Effects,
  effectsOf,
  PLAIN,
  reasonSet,
  SQL_PIN_REASONS,
} from '../../../src/sql/postgres/effects.ts';
import { StatementScanner } from '../../../src/sql/postgres/scanner.ts';
import { corpus, encode } from './corpus.ts';

function effectsIn(text: string): Effects {
  const bytes = encode(text);
  return classify(bytes, 0, bytes.length);
}

function reasonsOf(text: string): readonly string[] {
  return effectsIn(text).reasons;
}

describe('corpus', () => {
  test('holds at least 300 different statements', () => {
    expect(new Set(corpus.map(({ text }) => text)).size).toBeGreaterThanOrEqual(300);
  });

  test('has a statement for every reason (PG-37)', () => {
    const seen = new Set(corpus.flatMap(({ reasons }) => reasons));
    for (const reason of SQL_PIN_REASONS) expect(seen).toContain(reason);
  });

  test('is classified as it says (PG-26, PG-35, PG-37, PG-57)', () => {
    const wrong = corpus
      .map(({ text, reasons }) => ({ text, reasons, found: reasonsOf(text) }))
      .filter(({ reasons, found }) => reasons.join() !== found.join());
    expect(wrong).toEqual([]);
  });
});

describe('effects', () => {
  test('are reasons to pin that the rest of the proxy knows', () => {
    const known: readonly PinReason[] = SQL_PIN_REASONS;
    for (const reason of known) expect(PIN_REASONS).toContain(reason);
  });

  test('of the same reasons are the same frozen object', () => {
    const set = reasonSet('set') | reasonSet('listen');
    expect(effectsOf(set)).toBe(effectsOf(set));
    expect(effectsOf(set).reasons).toEqual(['set', 'listen']);
    expect(Object.isFrozen(effectsOf(set))).toBe(true);
    expect(Object.isFrozen(effectsOf(set).reasons)).toBe(true);
    expect(effectsOf(0)).toBe(PLAIN);
  });
});

describe('classify', () => {
  test('answers PLAIN itself for a plain statement', () => {
    for (const { bytes, reasons } of corpus) {
      const effects = classify(bytes, 0, bytes.length);
      const { isReadingLocal, mayClear } = effects;
      expect(effects === PLAIN).toBe(reasons.length === 0 && !isReadingLocal && !mayClear);
    }
  });

  test('knows when other texts are read in another way until the end of the transaction', () => {
    const cases: Readonly<Record<string, boolean>> = {
      'select 1': false,
      'set search_path = a': false,
      'set local search_path = a': true,
      "set local time zone 'UTC'": true,
      'SET LOCAL "search_path" TO a': true,
      'begin; set local datestyle = dmy; select 1': true,
      'set local role other': true,
      'set local work_mem = 1': false,
      'set local statement_timeout to 5': false,
      "set local app.tenant = '1'": false,
      'set local "app"."tenant" = 1': false,
      'set transaction read only': false,
      'set constraints all deferred': false,
      "select set_config('search_path', 'a', true)": true,
      "select set_config($1, 'a', true)": true,
      "select set_config('app.tenant', $1, true)": false,
      "select set_config('app.tenant' || $1, $2, true)": true,
      "select set_config('app.tenant', $1, true), set_config('role', $2, true)": true,
      "select set_config(E'app.tenant', $1, true)": true,
      'create temp table t (id int) on commit drop': true,
      'create temp table t on commit drop as select 1': true,
      'create temp table t (id int)': false,
      "do $$ begin perform set_config('search_path', 'a', true); end $$": true,
      "do $$ begin set local search_path = a; raise notice 'x.y'; end $$": true,
    };
    for (const [sql, isReadingLocal] of Object.entries(cases)) {
      const bytes = encode(sql);
      const found = classify(bytes, 0, bytes.length).isReadingLocal;
      expect({ sql, isReadingLocal: found }).toEqual({ sql, isReadingLocal });
    }
  });

  test('knows what may take away what was left', () => {
    const clearing = [
      'reset all',
      'reset x',
      'unlisten *',
      'deallocate all',
      'close c',
      'drop table t',
    ]
      .concat(['discard temp', 'discard all', 'select pg_advisory_unlock_all()'])
      .concat(['select 1; select pg_advisory_unlock($1)', 'do $$ begin drop table t; end $$']);
    for (const sql of ['select 1', 'set x = 1', 'listen x', 'commit', ...clearing]) {
      const { mayClear, isForgetting } = effectsIn(sql);
      const isForgettingOne = /^(discard|deallocate)/.test(sql);
      expect({ sql, mayClear }).toEqual({ sql, mayClear: clearing.includes(sql) });
      expect({ sql, isForgetting }).toEqual({ sql, isForgetting: isForgettingOne });
    }
  });

  test('looks at nothing outside its range', () => {
    const bytes = encode("set x = 1; select 1; listen 'x'");
    expect(classify(bytes, 11, 19)).toBe(PLAIN);
    expect(classify(bytes, 5, 5)).toBe(PLAIN);
  });

  test('remembers nothing of the text before', () => {
    for (const rest of ["'", '"', '$$', '$a', '/*', '--', 'create temp', 'do $$ (', 'u&', '1e']) {
      const bytes = encode(rest);
      classify(bytes, 0, bytes.length);
      expect(reasonsOf('select 1; set x = 1')).toEqual(['set']);
      expect(reasonsOf("insert into t values ('a')")).toEqual([]);
    }
  });

  test('takes backslashes as characters once it is told that they are', () => {
    const bytes = encode("select * from t where a like 'x\\_y' escape '\\'");
    expect(classify(bytes, 0, bytes.length).reasons).toEqual(['unknown']);
    expect(classify(bytes, 0, bytes.length, 'standard')).toBe(PLAIN);
    const hidden = encode("select '\\'; set x = 1 --'");
    expect(classify(hidden, 0, hidden.length, 'standard').reasons).toEqual(['set']);
    const block = encode("do 'begin perform ''\\x''; end'");
    expect(classify(block, 0, block.length).reasons).toEqual(['unknown']);
    expect(classify(block, 0, block.length, 'standard')).toBe(PLAIN);
  });

  test('knows the beginning of every statement of PostgreSQL 18', () => {
    const keywords =
      'abort alter analyse analyze begin call checkpoint close cluster comment commit copy create ' +
      'deallocate declare delete discard do drop end execute explain fetch grant import insert ' +
      'listen load lock merge move notify prepare reassign refresh reindex release reset revoke ' +
      'rollback savepoint security select set show start table truncate unlisten update vacuum ' +
      'values with';
    for (const keyword of keywords.split(' ')) {
      expect(reasonsOf(`${keyword} x`)).not.toContain('unknown');
      expect(reasonsOf(`${keyword.toUpperCase()} x`)).not.toContain('unknown');
      expect(reasonsOf(`${keyword}x x`)).toEqual(['unknown']);
      expect(reasonsOf(`"${keyword}" x`)).toEqual(['unknown']);
    }
  });

  test('keeps to its buffers at their edges', () => {
    for (const length of [62, 63, 64, 65, 1000]) {
      const name = 'a'.repeat(length);
      expect(reasonsOf(`select ${name}(1), "${name}"(2)`)).toEqual([]);
      expect(reasonsOf(`select pg_temp_${name} from t`)).toEqual([]);
    }
    const tag = (length: number) => `$${'t'.repeat(length)}$`;
    expect(reasonsOf(`select ${tag(62)} ' ${tag(62)}; set x = 1`)).toEqual(['set']);
    expect(reasonsOf(`select ${tag(63)} ' ${tag(63)}`)).toEqual(['unknown']);
  });

  test('reads on after bytes that no statement has', () => {
    const bytes = new Uint8Array([0, 1, 0xff, 0x3b, ...encode('set x = 1')]);
    expect(classify(bytes, 0, bytes.length).reasons).toEqual(['set', 'unknown']);
  });
});

describe('StatementScanner', () => {
  test('judges a statement of 64 MiB in pieces', () => {
    const scanner = new StatementScanner();
    const piece = encode("'it''s', $$;set x = 1;$$, /* ' */ \"a\", ");
    const before = process.memoryUsage().rss;
    scanner.push(encode('select '), 0, 7);
    const block = new Uint8Array(piece.length * 1000);
    for (let at = 0; at < block.length; at += piece.length) block.set(piece, at);
    for (let sent = 0; sent < 64 << 20; sent += block.length) scanner.push(block, 0, block.length);
    scanner.push(encode("nextval('s')"), 0, 12);
    expect(scanner.end().reasons).toEqual(['sequence']);
    expect(process.memoryUsage().rss - before).toBeLessThan(32 << 20);
  });

  test('begins anew at reset, in the middle of anything', () => {
    const scanner = new StatementScanner();
    for (const { bytes } of corpus) {
      scanner.reset();
      scanner.push(bytes, 0, bytes.length >> 1);
      scanner.reset();
      scanner.push(encode('select 1'), 0, 8);
      expect(scanner.end()).toBe(PLAIN);
    }
  });
});
