/** The manual and the examples against the schema. */

import { describe, expect, test } from 'bun:test';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse } from 'yaml';
import { loadConfiguration } from '../../../src/control/config-file.ts';
import { everyKey } from '../../../src/control/explain.ts';
import { copyExample } from '../../harness/examples.ts';

const ROOT = new URL('../../../', import.meta.url);
const ENVIRONMENT = {
  APP_PASSWORD: 'hunter2',
  OLD_SECRET_KEY: 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=',
  REPORTS_SECRET: '{"username":"reports","password":"hunter3"}',
};

describe('docs/configuration.md', () => {
  const manual = readFileSync(new URL('docs/configuration.md', ROOT), 'utf8');
  const headings = [...manual.matchAll(/^#{2,5} `([\w.]+)`$/gm)].map(([, key = '']) => key);

  test('has a heading for every key, and for nothing else', () => {
    const keys = everyKey().map(String);
    expect(keys.length).toBeGreaterThan(40);
    const summary = 'ConnectionPoolConfig';
    expect(headings.filter((key) => key !== summary).toSorted()).toEqual(keys.toSorted());
  });

  test('has an example that works', async () => {
    const example = /```yaml\n([\s\S]*?)```/.exec(manual)?.[1] ?? '';
    const { parseConfiguration } = await import('../../../src/control/config-file.ts');
    const options = { file: 'manual', environment: ENVIRONMENT };
    expect(parseConfiguration(example, options).snapshot.DBProxies).toHaveLength(1);
  });
});

describe('examples', () => {
  const files = readdirSync(new URL('examples', ROOT)).filter((file) => file.endsWith('.yaml'));

  test('are there', () => {
    expect(files).toContain('postgres.yaml');
    expect(files).toContain('postgres-full.yaml');
  });

  test.each(files)('%s is right', async (file) => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-examples-'));
    try {
      const copy = await copyExample(file, folder);
      const configuration = await loadConfiguration(copy, ENVIRONMENT);
      expect(configuration.snapshot.DBProxies).not.toBeEmpty();
      expect(configuration.warnings).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test('postgres-full.yaml has every setting but those of MySQL, and mysql.yaml has these', () => {
    const used = (file: string) =>
      keysOf(parse(readFileSync(new URL(`examples/${file}`, ROOT), 'utf8')));
    const ofPostgres = used('postgres-full.yaml');
    const missing = everyKey().filter((key) => !ofPostgres.includes(key));
    const ofMysql = [
      'DBProxies.ServerVersion',
      'DBProxies.TargetGroup.ConnectionPoolConfig.SessionPinningFilters',
    ];
    expect(missing.toSorted()).toEqual(ofMysql);
    expect(used('mysql.yaml')).toEqual(expect.arrayContaining(ofMysql));
  });
});

function keysOf(value: unknown, path = ''): readonly string[] {
  if (Array.isArray(value)) return value.flatMap((item) => keysOf(item, path));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => {
    const here = path === '' ? key : `${path}.${key}`;
    return [here, ...keysOf(item, here)];
  });
}
