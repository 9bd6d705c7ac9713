/**
 * `berth demo`, as the process that users run: what it prints, that it serves afterwards, and that
 * nothing of it is left, however it ends.
 */

import { expect, test } from 'bun:test';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { findInstalled } from '../../src/embedded/mysql-installation.ts';
import { Arrivals, within } from '../harness/deadline.ts';
import { eventually } from '../harness/polling.ts';
import { skipBecause } from '../harness/programs.ts';

const LAUNCHER = join(import.meta.dir, '..', '..', 'bin', 'berth');
/** It takes 15 s on two idle cores, and other tests run beside it. */
const DEMO_DEADLINE_MS = 100_000;

class DemoProcess implements Disposable {
  /** All its temporary files are in here, and nothing else is. */
  private readonly temporaryFolder = mkdtempSync(join(tmpdir(), 'berth-demo-test-'));
  private readonly child: ChildProcess;
  private readonly chunks = new Arrivals<string>();
  private readonly ended = Promise.withResolvers<number | null>();

  constructor(...options: readonly string[]) {
    // PostgreSQL runs as another user when we are root.
    chmodSync(this.temporaryFolder, 0o777);
    this.child = spawn(LAUNCHER, ['demo', ...options], {
      env: { ...process.env, TMPDIR: this.temporaryFolder },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => this.chunks.push(chunk.toString()));
    }
    this.child.on('close', (code) => this.ended.resolve(code));
  }

  get output(): string {
    return this.chunks.all.join('');
  }

  /** Resolves with the match as soon as the output has one. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return this.chunks.until(
      () => pattern.exec(this.output) ?? undefined,
      () => `${pattern} in\n${this.output}`,
      DEMO_DEADLINE_MS,
    );
  }

  exitCode(): Promise<number | null> {
    return within(this.ended.promise, () => `the end of\n${this.output}`, DEMO_DEADLINE_MS);
  }

  /** Fails when one of the processes or a file is still there. */
  async expectGone(pids: readonly number[]): Promise<void> {
    const areGone = () => {
      const running = new Set(processParents().map(([pid]) => pid));
      return pids.some((pid) => running.has(pid)) ? undefined : true;
    };
    await eventually(areGone, `the end of the processes ${pids.join(', ')}`);
    expect(readdirSync(this.temporaryFolder)).toEqual([]);
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** PostgreSQL, the clients and whatever else it started. */
  descendants(): number[] {
    const parents = processParents();
    const found = [this.child.pid ?? 0];
    for (const pid of found) {
      for (const [child, parent] of parents) if (parent === pid) found.push(child);
    }
    return found.slice(1);
  }

  [Symbol.dispose](): void {
    this.child.kill('SIGKILL');
    rmSync(this.temporaryFolder, { recursive: true, force: true });
  }
}

function processParents(): (readonly [pid: number, parent: number])[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).split('\n');
  return lines.map((line) => {
    const [pid = 0, parent = 0] = line.trim().split(/\s+/).map(Number);
    return [pid, parent];
  });
}

async function folderOf(demo: DemoProcess): Promise<string> {
  const [, folder = ''] = await demo.printed(/its data\s+(\S+), removed/);
  return folder;
}

/** The numbers of a row of the summary: straight, and through Berth. */
function row(output: string, label: string): number[] {
  const line = output.split('\n').find((each) => each.trimStart().startsWith(label)) ?? '';
  const numbers = line
    .trim()
    .slice(label.length)
    .trim()
    .split(/\s{2,}/);
  return numbers.map((text) => Number(text.replaceAll(',', '')));
}

/** What differs between the databases. */
interface Shown {
  readonly product: string;
  readonly options: readonly string[];
  readonly refusal: string;
  readonly pins: readonly string[];
  /** Connections that the database may see through Berth. */
  readonly seenMax: number;
}

const POSTGRESQL: Shown = {
  product: 'PostgreSQL',
  options: [],
  refusal: 'x sorry, too many clients already',
  pins: ['temporary_object', 'advisory_lock'],
  // The pool's, and one that was closed to make room for the one that listens.
  seenMax: 12,
};

const MARIADB: Shown = {
  product: 'MariaDB',
  options: ['--engine', 'mariadb'],
  refusal: 'x Too many connections',
  pins: ['temporary_object', 'user_level_lock'],
  // One or two may be replaced when a client leaves something behind.
  seenMax: 16,
};

// Each is long, so each does what the other does not; without MariaDB there is but one of them.
const hasMariadb = findInstalled('MariaDB') !== undefined;
const SHOWS = 'it shows the same clients straight and through Berth,';

test(`${SHOWS} and goes on serving until Ctrl-C, with PostgreSQL`, () => showAndServe(POSTGRESQL));

test(`${SHOWS} and exits, with ${hasMariadb ? 'MariaDB' : 'PostgreSQL'}`, () =>
  showAndExit(hasMariadb ? MARIADB : POSTGRESQL));

if (!hasMariadb) skipBecause('no MariaDB server', `${SHOWS} with MariaDB`);

async function showAndExit(shown: Shown): Promise<void> {
  using demo = new DemoProcess('--exit', ...shown.options);
  const pids = await showing(demo);
  expect(await demo.exitCode()).toBe(0);
  expectSummary(demo.output, shown);
  await demo.expectGone(pids);
}

/** The processes that it has started, while it shows the clients through Berth. */
async function showing(demo: DemoProcess): Promise<number[]> {
  const folder = await folderOf(demo);
  expect(existsSync(folder)).toBe(true);
  await demo.printed(/through berth/i);
  const pids = demo.descendants();
  expect(pids.length).toBeGreaterThanOrEqual(2);
  return pids;
}

function expectSummary(output: string, { product, refusal, pins, seenMax }: Shown): void {
  const [directTransactions = 0, berthTransactions = 0] = row(output, 'Transactions');
  expect(directTransactions).toBeGreaterThan(0);
  // How many more is a matter of the machine, and of what else runs on it.
  expect(berthTransactions).toBeGreaterThan(0);
  expect(row(output, 'Clients, in 3 waves of 300')).toEqual([900, 900]);
  const [directServed = 0, berthServed] = row(output, 'served');
  const [directTurnedAway = 0, berthTurnedAway] = row(output, 'turned away, too many connections');
  expect(directServed + directTurnedAway).toBe(900);
  expect(directTurnedAway).toBeGreaterThan(0);
  expect([berthServed, berthTurnedAway]).toEqual([900, 0]);
  expect(row(output, 'failed')).toEqual([0, 0]);
  const [directSeen = 0, berthSeen = 0] = row(output, `Connections that ${product} saw`);
  expect(directSeen).toBe(directServed);
  expect(berthSeen).toBeLessThanOrEqual(seenMax);
  const [, berthMost] = row(output, 'at the same time, at most');
  expect(berthMost).toBeLessThanOrEqual(10);
  for (const reason of pins) {
    expect(output).toMatch(new RegExp(`^ +${reason} +3 `, 'm'));
  }
  expect(output).toContain('µs per transaction');
  expect(output).toContain(refusal);
  expect(output).toContain('Through Berth: none.');
  expect(output).toContain('10,000 accounts hold 10,000,000 in total');
  expect(output).toContain('and every balance is what they make it.');
  // Not a terminal: no colours, nothing drawn over, nothing wider than a terminal would be.
  expect(output).not.toContain('\x1b');
  const widths = output.split('\n').map((line) => line.length);
  expect(Math.max(...widths)).toBeLessThanOrEqual(100);
}

async function showAndServe(shown: Shown): Promise<void> {
  using demo = new DemoProcess(...shown.options);
  await showing(demo);
  const [, url = ''] = await demo.printed(/psql "(postgresql:[^"]+)"/);
  const [, metricsUrl = ''] = await demo.printed(/curl (\S+)\s/);
  await demo.printed(/log follows/);
  expectSummary(demo.output, shown);
  const pids = demo.descendants();

  const client = new pg.Client(url);
  await client.connect();
  const { rows } = await client.query('SELECT sum(balance)::int AS total FROM accounts');
  expect(rows).toEqual([{ total: 10_000_000 }]);
  await client.end();
  await demo.printed(/The client logged in as user "app"/);
  const metrics = await (await fetch(metricsUrl)).text();
  expect(metrics).toContain('berth_session_pins_total{');

  demo.signal('SIGINT');
  expect(await demo.exitCode()).toBe(0);
  expect(demo.output).toContain('Stopped. PostgreSQL is gone');
  await demo.expectGone(pids);
}

for (const { signal, when, pattern } of [
  { signal: 'SIGTERM', when: 'while PostgreSQL starts', pattern: /Starting PostgreSQL/ },
  { signal: 'SIGINT', when: 'while clients are at work', pattern: /transactions, \d+ connections/ },
] as const) {
  test(`${signal} ${when} leaves nothing behind`, async () => {
    using demo = new DemoProcess('--exit');
    await demo.printed(pattern);
    const pids = demo.descendants();
    demo.signal(signal);
    expect(await demo.exitCode()).toBe(1);
    expect(demo.output).toContain('Stopped before the end. Everything that was started is gone.');
    await demo.expectGone(pids);
  });
}
