/** The command line's answers and exit codes, `berth check`, and the launcher. */

import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { check, type TargetProbe } from '../../../src/cli/check.ts';
import { type Commands, runCommandLine } from '../../../src/cli/command-line.ts';
import { copyExample } from '../../harness/examples.ts';

const ROOT = new URL('../../../', import.meta.url).pathname;

class Screen {
  text = '';
  readonly out = (text: string): void => {
    this.text += text;
  };
  readonly err = this.out;
}

async function run(...args: string[]) {
  const screen = new Screen();
  const calls: unknown[] = [];
  const command = (name: string) => async (options: unknown) => {
    calls.push([name, options]);
    return 1;
  };
  const commands: Commands = {
    serve: command('serve'),
    demo: command('demo'),
    check: command('check'),
    ca: command('ca'),
    sessions: command('sessions'),
    pools: command('pools'),
    pause: command('pause'),
    resume: command('resume'),
    token: command('token'),
  };
  const code = await runCommandLine(args, { version: '1.2.3', commands, output: screen });
  return { code, calls, text: screen.text };
}

describe('the command line', () => {
  test('runs a command and ends with its exit code', async () => {
    expect(await run('serve', '--config', 'berth.yaml')).toMatchObject({
      code: 1,
      calls: [['serve', { config: 'berth.yaml', logLevel: 'info', logFormat: undefined }]],
    });
    const options = ['--config=berth.yaml', '--log-level', 'debug', '--log-format', 'json'];
    expect(await run('serve', ...options)).toMatchObject({
      calls: [['serve', { config: 'berth.yaml', logLevel: 'debug', logFormat: 'json' }]],
    });
    expect(await run('demo')).toMatchObject({ code: 1, calls: [['demo', { exit: false }]] });
    expect(await run('demo', '--exit')).toMatchObject({ calls: [['demo', { exit: true }]] });
    expect(await run('ca')).toMatchObject({ code: 1, calls: [['ca', { config: undefined }]] });
    expect(await run('ca', '--config', 'x')).toMatchObject({ calls: [['ca', { config: 'x' }]] });
    expect(await run('check', '--config', 'x')).toMatchObject({
      calls: [['check', { config: 'x' }]],
    });
  });

  test('asks a Berth by its file or by its address', async () => {
    const asked = { proxy: undefined, json: false };
    expect(await run('sessions', '--config', 'x')).toMatchObject({
      code: 1,
      calls: [['sessions', { ...asked, api: { config: 'x' }, pinned: false }]],
    });
    const options = ['--pinned', '--proxy', 'orders', '--json'];
    const url = new URL('http://127.0.0.1:8400');
    expect(await run('sessions', '--url', 'http://127.0.0.1:8400', ...options)).toMatchObject({
      calls: [['sessions', { api: { url }, pinned: true, proxy: 'orders', json: true }]],
    });
    expect(await run('pools', '--config', 'x')).toMatchObject({
      calls: [['pools', { ...asked, api: { config: 'x' } }]],
    });
  });

  test.each([
    ['--help', 'Usage: berth'],
    ['serve --help', '--log-level'],
    ['--version', '1.2.3'],
  ])('%s ends with 0', async (args, text) => {
    const result = await run(...args.split(' '));
    expect(result).toMatchObject({ code: 0, calls: [] });
    expect(result.text).toContain(text);
  });

  test.each([
    ['', 'Usage: berth'],
    ['serve', "required option '--config <file>' not specified"],
    ['check', "required option '--config <file>' not specified"],
    ['serve --config', "option '--config <file>' argument missing"],
    ['serve --config=', 'It must not be empty.'],
    ['serve --config x --log-level loud', "argument 'loud' is invalid"],
    ['serve --config x --log-format xml', "argument 'xml' is invalid"],
    ['serve --config x --verbose', "unknown option '--verbose'"],
    ['serve --config x more', 'too many arguments'],
    ['sessions', "one of the options '--config <file>' and '--url <url>' is needed"],
    ['pools --json', "one of the options '--config <file>' and '--url <url>' is needed"],
    ['sessions --config x --url http://y', 'cannot be used with option'],
    ['sessions --url localhost:8400', 'It must begin with http:// or https://.'],
    ['sessions --url', "option '--url <url>' argument missing"],
    ['pools --config x --pinned', "unknown option '--pinned'"],
    ['server', "unknown command 'server'"],
    ['--bogus', "unknown option '--bogus'"],
  ])('"%s" ends with 2', async (args, text) => {
    const result = await run(...args.split(' ').filter((each) => each !== ''));
    expect(result).toMatchObject({ code: 2, calls: [] });
    expect(result.text).toContain(text);
  });
});

describe('berth check', () => {
  let folder = '';
  let config = '';
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'berth-check-'));
    config = await copyExample('postgres-full.yaml', folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const environment = {
    APP_PASSWORD: 'hunter2',
    OLD_SECRET_KEY: 'MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=',
    REPORTS_SECRET: '{"username":"reports","password":"hunter3"}',
  };
  const reached = {
    isReached: true,
    serverVersion: 'PostgreSQL 18.4',
    maxConnections: 100,
    durationMs: 3.2,
  } as const;

  async function checked(probe: TargetProbe, file = config) {
    const screen = new Screen();
    const code = await check({ config: file }, { probe, environment, output: screen });
    return { code, text: screen.text };
  }

  test('tries every user of every proxy on its target', async () => {
    const tried: string[] = [];
    const { code, text } = await checked(async (target, secret) => {
      tried.push(`${target.DBInstanceIdentifier} ${secret.username} ${secret.password.reveal()}`);
      return reached;
    });
    expect(code).toBe(0);
    expect(tried).toEqual([
      'orders-db app hunter2',
      'orders-db reports hunter3',
      'local-db app hunter2',
      'shop-1 app hunter2',
      'shop-2 app hunter2',
    ]);
    expect(text.split('\n').slice(0, 2)).toEqual([
      'PROXY   TARGET     ADDRESS                          USER     RESULT',
      'orders  orders-db  orders-db.example.internal:5432  app      ok: PostgreSQL 18.4, max_connections 100, 3 ms',
    ]);
    expect(text).toEndWith('every target answers.\n');
    expect(text).not.toContain('hunter');
  });

  test('ends with 1 when a target does not answer', async () => {
    const { code, text } = await checked(async ({ DBInstanceIdentifier }) =>
      DBInstanceIdentifier === 'local-db'
        ? { isReached: false, detail: 'connection refused' }
        : reached,
    );
    expect(code).toBe(1);
    expect(text).toContain('failed: connection refused');
    expect(text).toEndWith('1 of 5 logins failed.\n');
  });

  test('ends with 2 when the file is wrong', async () => {
    const { code, text } = await checked(async () => reached, '/nowhere/berth.yaml');
    expect({ code, text }).toEqual({
      code: 2,
      text: '/nowhere/berth.yaml  there is no such file\n',
    });
  });
});

describe('bin/berth', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-launcher-'));

  async function launch(command: readonly string[], cwd: string) {
    const child = Bun.spawn([...command], { cwd, stdout: 'pipe', stderr: 'pipe' });
    const [out, err, code] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { out, err, code };
  }

  test('works through links, from any folder, whatever that folder holds', async () => {
    writeFileSync(join(folder, 'bunfig.toml'), 'preload = ["./other.ts"]\n');
    writeFileSync(join(folder, 'other.ts'), 'process.exit(99);\n');
    symlinkSync(join(ROOT, 'bin/berth'), join(folder, 'one'));
    symlinkSync('one', join(folder, 'two'));
    const { out, err, code } = await launch([join(folder, 'two'), '--version'], folder);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  test('ends with 2 when it is used wrongly', async () => {
    const { err, code } = await launch([join(ROOT, 'bin/berth'), 'serve'], folder);
    expect(code).toBe(2);
    expect(err).toContain('--config');
  });

  test('says what to do when its dependencies are missing', async () => {
    const bare = mkdtempSync(join(tmpdir(), 'berth bare-'));
    const script = await Bun.file(join(ROOT, 'bin/berth')).text();
    await Bun.write(join(bare, 'bin/berth'), script);
    const { err, code } = await launch(['sh', join(bare, 'bin/berth')], folder);
    expect(code).toBe(1);
    expect(err).toContain('npm install');
    rmSync(bare, { recursive: true });
    rmSync(folder, { recursive: true });
  });
});
