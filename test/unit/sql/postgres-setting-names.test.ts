/** Which settings of an application's own a text may change. */

import { describe, expect, test } from 'bun:test';
import { customSettingNames } from '../../../src/sql/postgres/setting-names.ts';

const KNOWN: readonly [text: string, names: readonly string[]][] = [
  ['select 1', []],
  ['set work_mem = 1', []],
  ['set app.tenant = 1', ['app.tenant']],
  ['SET SESSION App.Tenant TO 1', ['app.tenant']],
  ['set local app.tenant = 1', ['app.tenant']],
  ['reset app.tenant', ['app.tenant']],
  ['set "app" . "tenant" = 1', ['app.tenant']],
  ['set "app.tenant" = 1', ['app.tenant']],
  ['set a.b.c = 1; set d.e = 2', ['a.b.c', 'd.e']],
  ["select set_config('app.tenant', $1, false)", ['app.tenant']],
  ["select pg_catalog.set_config('app.tenant'::text, $1, false)", ['app.tenant']],
  ['select "set_config"(\'app.tenant\', $1, false)', ['app.tenant']],
  ["select set_config('search_path', $1, false)", []],
  ["do $$ begin perform set_config('app.x', 'y', false); end $$", ['app.x']],
  ['/* a */ set /* b /* c */ */ app.x = 1 -- d', ['app.x']],
  ["select '--'; set app.x = 1", ['app.x']],
  ['update t set a.b = 1', ['a.b']],
];

describe('what a text says', () => {
  test.each([...KNOWN])('%s', (text, names) => {
    expect(customSettingNames(text)).toEqual([...names]);
  });
});

describe('what it does not say', () => {
  test.each([
    'select set_config($1, $2, false)',
    "select set_config('app.' || $1, $2, false)",
    "select set_config(E'app.x', $1, false)",
    "select set_config('app.x', $1, false), set_config($2, $3, false)",
    "select '--', set_config($1, $2, false)",
    'select set_config /* */ ($1, $2, false)',
    'set app.é = 1',
    'set U&"app"."x" = 1',
    `set ${'x'.repeat(200)}.y = 1`,
    Array.from({ length: 65 }, (_, at) => `set app.x${at} = 1`).join(';'),
    `set app.x = '${'y'.repeat(64 * 1024)}'`,
  ])('%#', (text) => {
    expect(customSettingNames(text)).toBeUndefined();
  });
});

describe('what a text says together with its parameters', () => {
  const VALUES = ['app.Tenant', 'work_mem', '', 'app.größe'];
  const namesIn = (text: string) => customSettingNames(text, (number) => VALUES[number - 1]);

  test.each<[text: string, names: readonly string[] | undefined]>([
    ['select set_config($1, $5, false)', ['app.tenant']],
    ['select pg_catalog."set_config"( $1::text , $5, false)', ['app.tenant']],
    ["select set_config($1, $5, false), set_config('app.x', 'y', false)", ['app.x', 'app.tenant']],
    ['select set_config($2, $5, false)', []],
    ['select set_config($3, $5, false)', []],
    ['select set_config($4, $5, false)', undefined],
    ['select set_config($5, $1, false)', undefined],
    ["select set_config($1 || '.x', $5, false)", undefined],
    ['select set_config(($1), $5, false)', undefined],
    ['select set_config($1, $5, false), set_config(lower($1), $5, false)', undefined],
  ])('%s', (text, names) => {
    expect(namesIn(text)).toEqual(names === undefined ? undefined : [...names]);
  });
});
