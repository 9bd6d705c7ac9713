/**
 * The test run: `npm test`, and `npm run check` for its first part.
 *
 *   scripts/run test [--static] [--only PATTERN] [--update-timings]
 *
 * First what can be judged without running the product (types, style, unused code, directions of
 * imports), each of which counts as one test; then everything under test/ but soak and bench. The last line
 * is `N passed, N failed`, with `, N skipped` when a test could not be run, and its reason before.
 * Files named `*.serial.test.ts` measure time or memory and run alone, after the others.
 *
 * --static        only the checks
 * --only PATTERN  only the test files whose path contains PATTERN, or, if there are none, the tests
 *                 whose name matches it; no checks
 * --update-timings  writes how long each file took to test/timings.json: the slowest begin first
 */

import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { parseArgs } from 'node:util';
import { keepFolder } from '../src/embedded/keeper.ts';
import { startAws } from './aws-command.ts';
import { gist, parseReport, type TestResult } from './junit.ts';

const ROOT = join(import.meta.dir, '..');
const TEST_FOLDERS = [
  'src',
  'test/unit',
  'test/conformance',
  'test/integration',
  'test/drivers',
  'test/faults',
  'test/adversarial',
];
/** Above every deadline of the harness, which says more about what did not happen than this can. */
const TEST_TIMEOUT_MS = 120_000;
/** One more than there are processors: tests wait for clocks and for starts a part of the time. */
const WORKERS_MORE = 1;
const WORKERS_MAX = 6;
/** How long the files take. Those that begin first are not the last to end. */
const TIMINGS = 'test/timings.json';

const CHECKS: readonly { readonly name: string; readonly command: readonly string[] }[] = [
  { name: 'types', command: ['node_modules/.bin/tsc', '--noEmit'] },
  { name: 'lint', command: ['node_modules/.bin/biome', 'check', '--error-on-warnings'] },
  { name: 'unused code', command: ['node_modules/.bin/knip'] },
  { name: 'imports', command: [process.execPath, 'scripts/check-imports.ts'] },
];

const { values: options } = parseArgs({
  options: {
    static: { type: 'boolean', default: false },
    only: { type: 'string' },
    'update-timings': { type: 'boolean', default: false },
  },
});

process.exitCode = await main();

async function main(): Promise<number> {
  const results: TestResult[] = [];
  if (options.only === undefined) results.push(...(await runChecks()));
  if (!options.static) results.push(...(await runTests(options.only)));
  const count = (outcome: TestResult['outcome']) =>
    results.filter((result) => result.outcome === outcome).length;
  const failed = count('failed');
  const skipped = count('skipped') === 0 ? '' : `, ${count('skipped')} skipped`;
  say(`${count('passed')} passed, ${failed} failed${skipped}`);
  return failed === 0 && count('passed') > 0 ? 0 : 1;
}

/** Two at a time: the compiler and the linter use several cores themselves. */
async function runChecks(): Promise<TestResult[]> {
  const results: TestResult[] = [];
  const waiting = [...CHECKS];
  const work = async () => {
    for (let check = waiting.shift(); check !== undefined; check = waiting.shift()) {
      results.push(await runCheck(check.name, check.command));
    }
  };
  await Promise.all([work(), work()]);
  return results;
}

async function runCheck(name: string, command: readonly string[]): Promise<TestResult> {
  const begun = performance.now();
  const { code, output } = await run(command);
  const seconds = (performance.now() - begun) / 1000;
  const outcome = code === 0 ? 'passed' : 'failed';
  say(`${outcome === 'passed' ? 'ok    ' : 'FAILED'}  ${name} (${seconds.toFixed(1)} s)`);
  if (outcome === 'failed') say(output.trimEnd());
  return { file: command.join(' '), name, outcome, message: '', seconds };
}

async function runTests(only: string | undefined): Promise<TestResult[]> {
  const all = TEST_FOLDERS.flatMap(testFiles);
  const chosen = only === undefined ? all : all.filter((file) => file.includes(only));
  const files = chosen.length > 0 ? chosen : all;
  const namePattern = chosen.length > 0 ? undefined : only;
  const isSerial = (file: string) => file.endsWith('.serial.test.ts');
  const workers = Math.min(availableParallelism() + WORKERS_MORE, WORKERS_MAX);
  const begun = performance.now();
  const results = [
    ...(await runFiles(
      files.filter((file) => !isSerial(file)),
      workers,
      namePattern,
    )),
    ...(await runFiles(files.filter(isSerial), 1, namePattern)),
  ];
  if (results.length === 0) results.push(failure(TEST_FOLDERS.join(' '), 'no tests were found'));
  report(results, (performance.now() - begun) / 1000);
  return results;
}

function testFiles(folder: string): string[] {
  return [...new Bun.Glob(`${folder}/**/*.test.ts`).scanSync(ROOT)].sort();
}

async function runFiles(
  files: readonly string[],
  workers: number,
  namePattern: string | undefined,
): Promise<TestResult[]> {
  if (files.length === 0) return [];
  const folder = mkdtempSync(join(tmpdir(), 'berth-tests-'));
  chmodSync(folder, 0o755);
  const keeper = keepFolder(folder);
  const aws = await startAws(folder);
  const reportFile = join(folder, 'junit.xml');
  const flags = [`--parallel=${workers}`, `--timeout=${TEST_TIMEOUT_MS}`, '--only-failures'];
  flags.push('--reporter=junit', `--reporter-outfile=${reportFile}`);
  flags.push(`--timings=${TIMINGS}`);
  if (options['update-timings']) flags.push('--update-timings');
  if (namePattern !== undefined) flags.push(`--test-name-pattern=${namePattern}`);
  try {
    const paths = files.map((file) => `./${file}`);
    const { code, output } = await run([process.execPath, 'test', ...flags, ...paths], {
      BERTH_TEST_TEMPLATES: folder,
      PATH: [aws?.folder ?? [], process.env.PATH ?? []].flat().join(delimiter),
    });
    const xml = existsSync(reportFile) ? readFileSync(reportFile, 'utf8') : '';
    return judge({
      files,
      results: parseReport(xml),
      code,
      output,
      isSubset: namePattern !== undefined,
    });
  } finally {
    aws?.stop();
    rmSync(folder, { recursive: true, force: true });
    keeper.release();
  }
}

interface Run {
  readonly files: readonly string[];
  readonly results: readonly TestResult[];
  readonly code: number | null;
  readonly output: string;
  /** Not every file has a test that was asked for. */
  readonly isSubset: boolean;
}

/** What the report says, and what it is silent about: a file that could not even be loaded, a crash. */
function judge({ files, results, code, output, isSubset }: Run): TestResult[] {
  const judged = explainSkips(results, output).filter(
    // With a name pattern, Bun reports all other tests as skipped.
    ({ outcome }) => !isSubset || outcome !== 'skipped',
  );
  if (!isSubset || code !== 0) {
    const reported = new Set(results.map(({ file }) => file));
    const silent = isSubset ? [] : files.filter((file) => !reported.has(file));
    judged.push(...silent.map((file) => failure(file, 'ran no test')));
  }
  const hasFailed = judged.some(({ outcome }) => outcome === 'failed');
  if (code !== 0 && !hasFailed) {
    judged.push(failure(files.join(' '), `the test run ended with code ${code}`));
  }
  if (code !== 0 || hasFailed) say(output.trimEnd());
  return judged;
}

/** The harness prints `skipped: REASON: NAME` when it skips a test. */
function explainSkips(results: readonly TestResult[], output: string): TestResult[] {
  const reasons = new Map<string, string>();
  for (const [, reason = '', name = ''] of output.matchAll(/^skipped: (.*?): (.*)$/gm)) {
    reasons.set(name, reason);
  }
  return results.map((result) => {
    if (result.outcome !== 'skipped') return result;
    const name = result.name.split(' > ').at(-1) ?? '';
    return { ...result, message: reasons.get(name) ?? (result.message || 'no reason given') };
  });
}

function report(results: readonly TestResult[], seconds: number): void {
  for (const { outcome, message, name } of results) {
    if (outcome === 'skipped') say(`skipped: ${message}: ${name}`);
  }
  const failed = results.filter(({ outcome }) => outcome === 'failed');
  for (const { file, name, message } of failed) {
    const [firstLine = '', ...others] = gist(message);
    say(`FAILED  ${file}: ${name === '' ? '' : `${name}: `}${firstLine}`);
    for (const line of others) say(`        ${line}`);
  }
  const verdict = failed.length === 0 ? 'ok    ' : 'FAILED';
  say(`${verdict}  ${results.length} tests (${seconds.toFixed(1)} s)`);
}

function failure(file: string, message: string): TestResult {
  return { file, name: '', outcome: 'failed', message, seconds: 0 };
}

/** Runs a program to its end and returns what it printed. */
function run(
  [program = '', ...args]: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: ROOT,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    }
    child.on('error', (error) => resolve({ code: null, output: error.message }));
    child.on('close', (code) => resolve({ code, output }));
  });
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
