/**
 * Reads the report of `bun test --reporter=junit`: which tests ran in which file, and how they ended.
 * It reads what Bun writes and no other dialect.
 */

export interface TestResult {
  /** As it was given to Bun: `test/unit/a.test.ts`. */
  readonly file: string;
  /** With its describe blocks: `outer > inner > name`. */
  readonly name: string;
  readonly outcome: 'passed' | 'failed' | 'skipped';
  /** Why it failed or was skipped, as far as the report says. */
  readonly message: string;
  readonly seconds: number;
}

/** So many lines of a message say what happened; the whole of it is above in the output. */
const GIST_LINES_MAX = 8;
const GIST_COLUMNS_MAX = 300;

const TAG = /<(?<close>\/)?(?<name>[\w]+)(?<attributes>(?:\s+[\w-]+="[^"]*")*)\s*(?<empty>\/)?>/g;
const ENTITIES: Readonly<Record<string, string>> = {
  lt: '<',
  gt: '>',
  quot: '"',
  apos: "'",
  amp: '&',
};

export function parseReport(xml: string): TestResult[] {
  const results: TestResult[] = [];
  const suites: string[] = [];
  for (const { groups } of xml.matchAll(TAG)) {
    const { name = '', close, empty, attributes = '' } = groups ?? {};
    const isOpened = close === undefined;
    if (name === 'testsuite' && isOpened && empty === undefined) {
      suites.push(attribute(attributes, 'name'));
    } else if (name === 'testsuite' && !isOpened) suites.pop();
    else if (name === 'testcase' && isOpened) results.push(started(suites, attributes));
    else if (name === 'failure' && isOpened) end(results, 'failed', attributes);
    else if (name === 'skipped' && isOpened) end(results, 'skipped', attributes);
  }
  return results;
}

/** A test passes unless something inside it says otherwise. The outermost suite is the file. */
function started(suites: readonly string[], attributes: string): TestResult {
  return {
    file: attribute(attributes, 'file'),
    name: [...suites.slice(1), attribute(attributes, 'name')].join(' > '),
    outcome: 'passed',
    message: '',
    seconds: Number(attribute(attributes, 'time')),
  };
}

function end(results: TestResult[], outcome: TestResult['outcome'], attributes: string): void {
  const last = results.pop();
  if (last === undefined) throw new Error(`a test report with ${outcome} outside of a test`);
  results.push({ ...last, outcome, message: attribute(attributes, 'message') });
}

function attribute(attributes: string, name: string): string {
  const value = new RegExp(`\\s${name}="([^"]*)"`).exec(attributes)?.[1] ?? '';
  return value.replace(/&(?:#(\d+)|(\w+));/g, (whole, code?: string, entity = '') =>
    code === undefined ? (ENTITIES[entity] ?? whole) : String.fromCodePoint(Number(code)),
  );
}

/** The first line of a message, and the lines that differ, or what else it says. */
export function gist(message: string): string[] {
  const [first = '', ...rest] = message.split('\n').filter((line) => line.trim() !== '');
  const isCount = (line: string) => /^[-+] (Expected|Received) +[-+] \d+$/.test(line);
  const others = rest.filter((line) => !isCount(line));
  const differing = others.filter((line) => /^[-+] /.test(line));
  const told = differing.length > 0 ? differing : others;
  const left = told.length - GIST_LINES_MAX;
  const shown = [first, ...told.slice(0, GIST_LINES_MAX)].map(shortened);
  return left > 0 ? [...shown, `... and ${left} more lines`] : shown;
}

function shortened(line: string): string {
  return line.length <= GIST_COLUMNS_MAX ? line : `${line.slice(0, GIST_COLUMNS_MAX)}...`;
}
