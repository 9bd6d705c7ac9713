/**
 * Reads a case written message by message. Comments begin with `#`. Messages to send are gathered
 * and written at once, before the next line that is not one of them:
 *
 *   > Query "sql"                           > Flush     > Sync     > Terminate
 *   > Parse "statement" "sql" [type id …]   > Describe S|P "name"  > Close S|P "name"
 *   > Bind "portal" "statement" [value …] [results=0|1,…]          > Execute "portal" [rows]
 *   > CopyData "text"   > CopyDone   > CopyFail "reason"   > FunctionCall id [value …]
 *   > bytes 51 00 ff …                      any bytes
 *   repeat N … end                          what is between, N times
 *   split 1 5 …                             write the messages that follow in pieces (the last length repeats)
 *   < until TYPE [count]                    read up to the count-th message of a type
 *   < closed                                read until the connection is closed
 *   session NAME    reconnect    cancel
 *
 * A value is a string, `null`, or `x"00ff"` for the binary format. A string is written as in JSON;
 * `"ab"*3` is repeated, `3@"a"` is three values, and `${1..3}` in it becomes `$1,$2,$3`.
 */

import * as frontend from '../harness/frontend-messages.ts';
import { type Case, connectionsOf, type Step } from './steps.ts';

type Value = frontend.Parameter;

const TOKEN =
  /\s*(?:(?<count>\d+)@)?(?:(?<binary>x)?(?<text>"(?:[^"\\]|\\.)*")(?:\*(?<times>\d+))?|(?<word>[^\s"]+))/y;

export function parseRawCase(name: string, text: string): Case {
  if (!text.startsWith('#')) throw new Error(`${name} does not say what it is about`);
  const steps: Step[] = [];
  let pending: Buffer[] = [];
  let split: readonly number[] = [];
  const write = () => {
    if (pending.length === 0) return;
    steps.push({ kind: 'send', bytes: Buffer.concat(pending), split });
    pending = [];
    split = [];
  };
  for (const line of unroll(text.split('\n'))) {
    if (line.startsWith('>')) {
      pending.push(parseMessage(line.slice(1)));
      continue;
    }
    write();
    if (line.startsWith('split ')) split = line.split(' ').slice(1).map(Number);
    else steps.push(parseCommand(line));
  }
  write();
  return { name, steps, connections: connectionsOf(text) };
}

/** The lines that count, with each `repeat` written out. Repeats do not nest. */
function unroll(lines: readonly string[]): string[] {
  const result: string[] = [];
  let body: string[] | undefined;
  let times = 0;
  for (const line of lines.map((text) => text.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    const repeat = /^repeat (\d+)$/.exec(line)?.[1];
    if (repeat !== undefined) {
      body = [];
      times = Number(repeat);
    } else if (line === 'end') {
      for (let turn = 0; turn < times; turn++) result.push(...(body ?? []));
      body = undefined;
    } else (body ?? result).push(line);
  }
  return result;
}

function parseCommand(line: string): Step {
  const [command = '', argument = '', type = '', count = '1'] = line.split(/\s+/);
  if (command === '<' && argument === 'until') return { kind: 'until', type, count: Number(count) };
  if (command === '<' && argument === 'closed') return { kind: 'closed' };
  if (command === 'session') return { kind: 'session', name: argument };
  if (command === 'reconnect') return { kind: 'reconnect' };
  if (command === 'cancel') return { kind: 'cancel' };
  throw new Error(`not understood: ${line}`);
}

function parseMessage(line: string): Buffer {
  const [name, ...values] = tokens(line);
  const text = (index: number) => textOf(values[index]);
  switch (name) {
    case 'Query':
      return frontend.query(text(0));
    case 'Parse':
      return frontend.parse(text(0), text(1), values.slice(2).map(Number));
    case 'Bind':
      return parseBind(values);
    case 'Describe':
      return frontend.describe(targetOf(text(0)), text(1));
    case 'Close':
      return frontend.close(targetOf(text(0)), text(1));
    case 'Execute':
      return frontend.execute(text(0), Number(values[1] ?? 0));
    case 'Flush':
      return frontend.flush();
    case 'Sync':
      return frontend.sync();
    case 'Terminate':
      return frontend.terminate();
    case 'CopyData':
      return frontend.copyData(text(0));
    case 'CopyDone':
      return frontend.copyDone();
    case 'CopyFail':
      return frontend.copyFail(text(0));
    case 'FunctionCall':
      return frontend.functionCall(Number(values[0]), values.slice(1));
    case 'bytes':
      return Buffer.from(values.map(textOf).join(''), 'hex');
    default:
      throw new Error(`not understood: > ${line}`);
  }
}

function parseBind(values: readonly Value[]): Buffer {
  const last = values.at(-1);
  const results = typeof last === 'string' ? /^results=([\d,]+)$/.exec(last)?.[1] : undefined;
  return frontend.bind({
    portal: textOf(values[0]),
    statement: textOf(values[1]),
    parameters: values.slice(2, results === undefined ? undefined : -1),
    resultFormats: results?.split(',').map(Number) ?? [],
  });
}

function targetOf(letter: string): frontend.DescribeKind {
  if (letter === 'S') return 'statement';
  if (letter === 'P') return 'portal';
  throw new Error(`neither S nor P: ${letter}`);
}

function textOf(value: Value | undefined): string {
  if (value === undefined) return '';
  if (typeof value !== 'string') throw new Error('a string was expected');
  return value;
}

function tokens(line: string): Value[] {
  const values: Value[] = [];
  TOKEN.lastIndex = 0;
  const end = line.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const groups = TOKEN.exec(line)?.groups;
    if (groups === undefined) throw new Error(`not understood: ${line}`);
    for (let turn = 0; turn < Number(groups.count ?? 1); turn++) values.push(tokenValue(groups));
  }
  return values;
}

function tokenValue(token: Readonly<Record<string, string | undefined>>): Value {
  const { binary, text, times = '1', word = '' } = token;
  if (text === undefined) return word === 'null' ? null : word;
  const string = expand(JSON.parse(text)).repeat(Number(times));
  return binary === undefined ? string : Buffer.from(string, 'hex');
}

function expand(text: string): string {
  return text.replace(/\$\{(\d+)\.\.(\d+)\}/g, (_, from: string, to: string) =>
    Array.from(
      { length: Number(to) - Number(from) + 1 },
      (_, at) => `$${Number(from) + at}`,
    ).join(),
  );
}
