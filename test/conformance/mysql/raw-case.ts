/**
 * Reads a case written command by command. Comments begin with `#`. Commands to send are gathered and
 * written at once, before the next line that is not one of them:
 *
 *   > Query "sql"   > InitDb "name"   > Ping   > Statistics   > FieldList "table"   > ResetConnection
 *   > SetOption 0|1   > ProcessKill SESSION   > Quit
 *   > Prepare NAME "sql"
 *   > Execute NAME [value …] [cursor=1] [types=no] [long=0,…]
 *   > LongData NAME parameter "text"   > Fetch NAME rows   > ResetStatement NAME   > Close NAME
 *   > BulkExecute NAME columns value …   rows of MariaDB's COM_STMT_BULK_EXECUTE
 *   > command CODE ["hex"]            any command, answered by one packet
 *   repeat N … end                    what is between, N times
 *   split 1 5 …                       write the commands that follow in pieces (the last length repeats)
 *   <                                 read the answers to everything that was sent
 *   < closed                          read until the connection is closed
 *   session NAME    reconnect    changeuser USER PASSWORD DATABASE
 *   eventually "sql"                  wait until root gets a row for it
 *
 * A value is a string as in JSON (`"ab"*3` is repeated), `null`, a whole number, a number with a point, or `x"00ff"`.
 * `${id NAME}` in a string is the connection id of a session. The statement `last` is the one prepared before.
 */

import type { MysqlParameter } from '../../harness/mysql/commands.ts';
import * as commands from '../../harness/mysql/commands.ts';
import { COMMAND } from '../../harness/mysql/constants.ts';
import { type Case, type Command, headOf, type Step } from './steps.ts';

const TOKEN =
  /\s*(?:(?<binary>x)?(?<text>"(?:[^"\\]|\\.)*")(?:\*(?<times>\d+))?|(?<word>[^\s"]+))/y;
/** What MariaDB takes for the statement that was prepared last. */
const LAST_STATEMENT = 0xffff_ffff;
const NOBODYS_STATEMENT = 0x7fff_fff0;

interface Token {
  readonly kind: 'text' | 'binary' | 'word';
  readonly text: string;
}

export function parseRawCase(name: string, text: string): Case {
  if (!text.startsWith('#')) throw new Error(`${name} does not say what it is about`);
  const steps: Step[] = [];
  let pending: Command[] = [];
  let split: readonly number[] = [];
  const write = () => {
    if (pending.length === 0) return;
    steps.push({ kind: 'send', commands: pending, split });
    pending = [];
    split = [];
  };
  for (const line of unroll(text.split('\n'))) {
    if (line.startsWith('>')) {
      pending.push(parseCommand(tokens(line.slice(1)), line));
      continue;
    }
    write();
    if (line.startsWith('split ')) split = line.split(' ').slice(1).map(Number);
    else steps.push(parseStep(line));
  }
  write();
  return { name, steps, ...headOf(text) };
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

function parseStep(line: string): Step {
  const [command, first, second, third] = tokens(line).map(({ text }) => text);
  if (command === '<') return first === 'closed' ? { kind: 'closed' } : { kind: 'read' };
  if (command === 'reconnect') return { kind: 'reconnect' };
  if (command === 'session' && first !== undefined) return { kind: 'session', name: first };
  if (command === 'eventually' && first !== undefined) return { kind: 'eventually', sql: first };
  if (command === 'changeuser' && first !== undefined) {
    return { kind: 'change user', user: first, password: second ?? '', database: third ?? '' };
  }
  throw new Error(`not understood: ${line}`);
}

function parseCommand([name, ...rest]: readonly Token[], line: string): Command {
  const text = (index: number) => rest[index]?.text ?? '';
  const number = (index: number) => Number(text(index));
  const plain = (code: number, form: Command['form'] = 'ok'): Command => ({
    encode: ({ fill }) => commands.command(code, fill(text(0))),
    form,
  });
  const ofStatement = (
    form: Command['form'],
    encode: (statement: number, context: Parameters<Command['encode']>[0]) => Buffer,
  ): Command => ({ encode: (context) => encode(context.statement(text(0)), context), form });
  switch (name?.text) {
    case 'Query':
      return {
        encode: ({ fill, capabilities }) => commands.query(fill(text(0)), capabilities),
        form: 'query',
      };
    case 'InitDb':
      return plain(COMMAND.INIT_DB);
    case 'Ping':
      return plain(COMMAND.PING);
    case 'Statistics':
      return plain(COMMAND.STATISTICS, 'text');
    case 'ResetConnection':
      return plain(COMMAND.RESET_CONNECTION);
    case 'Quit':
      return plain(COMMAND.QUIT, undefined);
    case 'FieldList':
      return {
        encode: () => commands.command(COMMAND.FIELD_LIST, `${text(0)}\0${text(1)}`),
        form: 'fields',
      };
    case 'SetOption':
      return {
        encode: () => commands.command(COMMAND.SET_OPTION, Buffer.from([number(0), 0])),
        form: 'ok',
      };
    case 'ProcessKill':
      return {
        encode: ({ fill }) => {
          const id = Buffer.alloc(4);
          id.writeUInt32LE(Number(fill(`\${id ${text(0)}}`)));
          return commands.command(COMMAND.PROCESS_KILL, id);
        },
        form: 'ok',
      };
    case 'Prepare':
      return {
        encode: ({ fill }) => commands.command(COMMAND.STMT_PREPARE, fill(text(1))),
        form: 'prepare',
        prepares: text(0),
      };
    case 'Execute':
      return parseExecute(rest);
    case 'LongData':
      return ofStatement(undefined, (id) => commands.sendLongData(id, number(1), text(2)));
    case 'Fetch':
      return ofStatement('rows', (id) => commands.fetchRows(id, number(1)));
    case 'ResetStatement':
      return ofStatement('ok', (id) => commands.statementCommand(COMMAND.STMT_RESET, id));
    case 'Close':
      return ofStatement(undefined, (id) => commands.statementCommand(COMMAND.STMT_CLOSE, id));
    case 'BulkExecute':
      return ofStatement('query', (id) =>
        commands.bulkExecute(id, rowsOf(rest.slice(2), number(1))),
      );
    case 'command':
      return { encode: () => commands.command(number(0), Buffer.from(text(1), 'hex')), form: 'ok' };
    default:
      throw new Error(`not understood: ${line}`);
  }
}

function parseExecute([name, ...rest]: readonly Token[]): Command {
  const options = new Map<string, string>();
  const parameters: MysqlParameter[] = [];
  for (const token of rest) {
    const [, key, value] = (token.kind === 'word' && /^(\w+)=(.+)$/.exec(token.text)) || [];
    if (key !== undefined && value !== undefined) options.set(key, value);
    else parameters.push(parameterOf(token));
  }
  return {
    encode: ({ statement, capabilities }) =>
      commands.execute(statement(name?.text ?? ''), parameters, {
        capabilities,
        cursor: Number(options.get('cursor') ?? 0),
        hasTypes: options.get('types') !== 'no',
        longData: options.get('long')?.split(',').map(Number) ?? [],
      }),
    form: 'execute',
  };
}

function parameterOf({ kind, text }: Token): MysqlParameter {
  if (kind === 'text') return text;
  if (kind === 'binary') return Buffer.from(text, 'hex');
  if (text === 'null') return null;
  return text.includes('.') ? Number(text) : BigInt(text);
}

/** Values in rows of so many columns. */
function rowsOf(values: readonly Token[], columns: number): (string | number | null)[][] {
  const rows: (string | number | null)[][] = [];
  for (let at = 0; at < values.length; at += columns) {
    const row = values.slice(at, at + columns);
    rows.push(
      row.map(({ kind, text }) => (kind === 'text' ? text : text === 'null' ? null : Number(text))),
    );
  }
  return rows;
}

/** The id of a statement by its name; of one that could not be prepared, an id that nobody has. */
export function statementId(name: string, known: ReadonlyMap<string, number>): number {
  if (name === 'last') return LAST_STATEMENT;
  return known.get(name) ?? (/^\d+$/.test(name) ? Number(name) : NOBODYS_STATEMENT);
}

function tokens(line: string): Token[] {
  const values: Token[] = [];
  TOKEN.lastIndex = 0;
  const end = line.trimEnd().length;
  while (TOKEN.lastIndex < end) {
    const groups = TOKEN.exec(line)?.groups;
    if (groups === undefined) throw new Error(`not understood: ${line}`);
    const { binary, text, times = '1', word = '' } = groups;
    if (text === undefined) values.push({ kind: 'word', text: word });
    else {
      const string: string = JSON.parse(text);
      values.push({
        kind: binary === undefined ? 'text' : 'binary',
        text: string.repeat(Number(times)),
      });
    }
  }
  return values;
}
