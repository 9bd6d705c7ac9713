/**
 * The scanner against PostgreSQL's own parser, compiled to WebAssembly. Where the parser accepts a
 * text both must find the same tokens, the same statements and the same calls.
 */

import { beforeAll, describe, expect, test } from 'bun:test';
import fc from 'fast-check';
import { loadModule, parseSync, scanSync } from 'libpg-query';
import {
  effectsOf,
  SQL_PIN_REASONS,
  type SqlPinReason,
} from '../../../src/sql/postgres/effects.ts';
import { Lexer, type TokenSink } from '../../../src/sql/postgres/lexer.ts';
import { functionReasons } from '../../../src/sql/postgres/rules.ts';
import { StatementScanner } from '../../../src/sql/postgres/scanner.ts';
import { FIRST_FUNCTION, WORD_COUNT, wordText } from '../../../src/sql/postgres/words.ts';
import { corpus, encode, valid } from './corpus.ts';

interface Findings {
  readonly statements: string[];
  readonly calls: string[];
}

/** The first keywords of the statements that become a node; most nodes are named after theirs. */
const KEYWORDS: Record<string, readonly string[]> = {
  SelectStmt: ['select', 'values', 'table', 'with'],
  InsertStmt: ['insert', 'with'],
  UpdateStmt: ['update', 'with'],
  DeleteStmt: ['delete', 'with'],
  MergeStmt: ['merge', 'with'],
  TransactionStmt: [
    'abort',
    'begin',
    'commit',
    'end',
    'prepare',
    'release',
    'rollback',
    'savepoint',
    'start',
  ],
  VariableSetStmt: ['set', 'reset'],
  VariableShowStmt: ['show'],
  ConstraintsSetStmt: ['set'],
  ViewStmt: ['create'],
  RuleStmt: ['create'],
  IndexStmt: ['create'],
  DefineStmt: ['create'],
  CompositeTypeStmt: ['create'],
  CreatedbStmt: ['create'],
  DeclareCursorStmt: ['declare'],
  FetchStmt: ['fetch', 'move'],
  ClosePortalStmt: ['close'],
  DropRoleStmt: ['drop'],
  DropOwnedStmt: ['drop'],
  GrantStmt: ['grant', 'revoke'],
  GrantRoleStmt: ['grant', 'revoke'],
  SecLabelStmt: ['security'],
  VacuumStmt: ['vacuum', 'analyze', 'analyse'],
  CheckPointStmt: ['checkpoint'],
  ImportForeignSchemaStmt: ['import'],
  RefreshMatViewStmt: ['refresh'],
  ReassignOwnedStmt: ['reassign'],
};

function keywordsOf(node: string): readonly string[] {
  const word = /^[A-Z][a-z]+/.exec(node)?.[0].toLowerCase() ?? node;
  return KEYWORDS[node] ?? [word];
}

function scan(bytes: Uint8Array): Findings & { readonly reasons: readonly string[] } {
  const found: Findings = { statements: [], calls: [] };
  const scanner = new StatementScanner({
    statement: (keyword) => found.statements.push(keyword),
    call: (name) => found.calls.push(name),
  });
  scanner.push(bytes, 0, bytes.length);
  return { ...found, reasons: scanner.end().reasons };
}

function statementNodes(text: string): string[] {
  const { stmts = [] } = parseSync(text);
  return stmts.map(({ stmt }) => Object.keys(stmt ?? {}).join());
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

/** The last part of the name in every call in the tree, sorted. */
function callsIn(tree: unknown): string[] {
  const calls: string[] = [];
  const visit = (node: unknown): void => {
    if (!isRecord(node)) return;
    if (isRecord(node.FuncCall)) calls.push(lastName(node.FuncCall.funcname));
    Object.values(node).forEach(visit);
  };
  visit(tree);
  return calls.sort();
}

function lastName(names: unknown): string {
  const last: unknown = Array.isArray(names) ? names.at(-1) : undefined;
  if (!isRecord(last) || !isRecord(last.String)) throw new Error('a call without a name');
  return String(last.String.sval);
}

const FUNCTION_NAMES = Array.from({ length: WORD_COUNT - FIRST_FUNCTION }, (_, at) =>
  wordText(FIRST_FUNCTION + at),
);

/** What a single statement's own node says it does; the functions that it calls come on top. */
function nodeReason(node: string, body: Record<string, unknown>): SqlPinReason | undefined {
  switch (node) {
    case 'VariableSetStmt':
      return isTransactionSetting(body) ? undefined : 'set';
    case 'ListenStmt':
      return 'listen';
    case 'PrepareStmt':
      return 'sql_prepare';
    case 'LoadStmt':
      return 'load';
    case 'DeclareCursorStmt':
      return (Number(body.options) & CURSOR_OPT_HOLD) === 0 ? undefined : 'hold_cursor';
    default:
      return undefined;
  }
}

/** https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/nodes/parsenodes.h */
const CURSOR_OPT_HOLD = 0x0020;

function isTransactionSetting(body: Record<string, unknown>): boolean {
  return body.is_local === true || /^TRANSACTION( SNAPSHOT)?$/.test(String(body.name));
}

/** What a part of a statement says, wherever it stands. */
function partReason(key: string, part: Record<string, unknown>): SqlPinReason | undefined {
  const relation = part.rel ?? part.relation ?? part.view ?? part.sequence;
  const isDropped = (part.onCommit ?? part.oncommit) === 'ONCOMMIT_DROP';
  if (/^(into|intoClause|CreateStmt|ViewStmt|CreateSeqStmt)$/.test(key) && isTemporary(relation)) {
    return isDropped ? undefined : 'temporary_object';
  }
  if (key === 'ExecuteStmt') return 'sql_prepare';
  return key === 'FuncCall' ? callReason(part) : undefined;
}

function isTemporary(relation: unknown): boolean {
  if (!isRecord(relation)) return false;
  return relation.relpersistence === 't' || /^pg_temp(_\d+)?$/.test(String(relation.schemaname));
}

function callReason(call: Record<string, unknown>): SqlPinReason | undefined {
  const name = lastName(call.funcname);
  const literal = Array.isArray(call.args) ? JSON.stringify(call.args[2]) : '';
  if (name === 'set_config' && /"boolval":\{"boolval":true\}/.test(literal)) {
    return literal.startsWith('{"A_Const"') ? undefined : 'set';
  }
  const set = functionReasons[FUNCTION_NAMES.indexOf(name) + FIRST_FUNCTION];
  return set === undefined ? undefined : effectsOf(set).reasons[0];
}

/** The reasons that the parse tree of a text gives, in the order of the list. */
function reasonsIn(text: string): SqlPinReason[] {
  const found = new Set<SqlPinReason | undefined>();
  const visit = (node: unknown): void => {
    if (!isRecord(node)) return;
    for (const [key, part] of Object.entries(node)) {
      if (isRecord(part)) found.add(partReason(key, part));
      visit(part);
    }
  };
  for (const { stmt } of parseSync(text).stmts ?? []) {
    for (const [node, body] of Object.entries(stmt ?? {})) {
      if (isRecord(body)) found.add(nodeReason(node, body));
    }
    visit(stmt);
  }
  return SQL_PIN_REASONS.filter((reason) => found.has(reason));
}

/** Temporary functions and types, and what is only explained, are no relations in the tree. */
const TREE_DOES_NOT_SAY = /^(CREATE (FUNCTION|TYPE) pg_temp|EXPLAIN DECLARE|DO\b)|; DO\b/i;

beforeAll(loadModule);

describe('the corpus', () => {
  test('parses where it says so, and only there', () => {
    expect(valid.length).toBeGreaterThanOrEqual(300);
    for (const { text, flags } of corpus) {
      if (flags.includes('no-oracle')) continue;
      if (flags.includes('syntax-error')) expect(() => parseSync(text)).toThrow();
      else expect(() => parseSync(text)).not.toThrow();
    }
  });

  test('has the statements that PostgreSQL sees', () => {
    for (const { text, bytes } of valid) {
      const { statements } = scan(bytes);
      const nodes = statementNodes(text);
      const agree = nodes.map((node, at) => keywordsOf(node).includes(statements[at] ?? ''));
      expect({ text, statements, count: nodes.length, agree }).toEqual({
        text,
        statements,
        count: statements.length,
        agree: statements.map(() => true),
      });
    }
  });

  test('has the calls that PostgreSQL sees', () => {
    let compared = 0;
    for (const { text, bytes, flags } of valid) {
      const { calls, reasons } = scan(bytes);
      const known = callsIn(parseSync(text)).filter((name) => FUNCTION_NAMES.includes(name));
      const isObscured = reasons.includes('unknown') && calls.length === 0;
      if (isObscured || flags.includes('no-call')) continue;
      expect({ text, calls: calls.sort() }).toEqual({ text, calls: known });
      compared += known.length;
    }
    expect(compared).toBeGreaterThanOrEqual(50);
  });

  test('does what its parse trees say (PG-35, PG-37)', () => {
    let compared = 0;
    for (const { text, reasons, flags } of valid) {
      if (reasons.includes('unknown') || flags.includes('no-call')) continue;
      if (TREE_DOES_NOT_SAY.test(text)) continue;
      expect({ text, reasons }).toEqual({ text, reasons: reasonsIn(text) });
      compared += 1;
    }
    expect(compared).toBeGreaterThanOrEqual(300);
  });

  test('calls every function that has a reason', () => {
    for (const name of FUNCTION_NAMES) {
      const bytes = encode(`select ${name}(1), pg_catalog."${name}" (2)`);
      expect(scan(bytes).calls).toEqual([name, name]);
      const isClearing = name.startsWith('pg_advisory_unlock');
      expect(scan(bytes).reasons).toHaveLength(isClearing ? 0 : 1);
    }
    expect(functionReasons.filter((reason) => reason !== 0)).toHaveLength(FUNCTION_NAMES.length);
  });
});

/** The records in which no word and no dollar tag is longer than the lexer's buffers. */
const short = valid.filter(({ text }) => !/\w{64}/.test(text));

/** Notes every token in a form that can be compared with PostgreSQL's. */
class TokenNotes implements TokenSink {
  readonly tokens: string[] = [];
  private readonly lexer = new Lexer(this);

  static of(text: string): string[] {
    const notes = new TokenNotes();
    const bytes = encode(text);
    notes.lexer.reset('standard');
    notes.lexer.push(bytes, 0, bytes.length);
    notes.lexer.end();
    return notes.tokens;
  }

  word(): void {
    this.tokens.push(`word ${this.text()}`);
  }
  name(): void {
    this.tokens.push(`name ${this.text()}`);
  }
  unicodeName(): void {
    this.tokens.push('unicode name');
  }
  string(): boolean {
    this.tokens.push('string');
    return false;
  }
  content(): void {}
  number(): void {
    this.tokens.push('number');
  }
  parameter(): void {
    this.tokens.push('parameter');
  }
  symbol(byte: number): void {
    this.tokens.push(String.fromCharCode(byte));
  }
  obscured(): void {
    this.tokens.push('obscured');
  }

  private text(): string {
    const { text, length } = this.lexer;
    return new TextDecoder().decode(text.subarray(0, Math.min(length, text.length)));
  }
}

/** PostgreSQL's tokens in the same form: operators byte by byte, no comments. */
function officialTokens(text: string): string[] {
  const { tokens } = scanSync(text);
  return tokens.flatMap((token, at) => {
    const next = tokens[at + 1];
    const isPrefix = /^n$/i.test(token.text) && next?.start === token.end;
    if (isPrefix && next.text.startsWith("'")) return [];
    return officialToken(token.text, token.tokenName);
  });
}

function officialToken(text: string, kind: string): string[] {
  if (kind === 'C_COMMENT' || kind === 'SQL_COMMENT') return [];
  if (text === '$') throw new Error('a dollar sign that begins nothing is a syntax error');
  if (/^u&"/i.test(text)) return ['unicode name'];
  if (text.startsWith('"')) return [`name ${text.slice(1, -1).replaceAll('""', '"')}`];
  if (/^(u&|[bex])?'/i.test(text) || /^\$[^0-9]/.test(text)) return ['string'];
  if (text.startsWith('$')) return ['parameter'];
  if (/^\.?[0-9]/.test(text)) return ['number'];
  if (/^[a-z_\u0080-\uffff]/i.test(text)) return [`word ${lowerCase(text)}`];
  return [...text];
}

/** ASCII only, as PostgreSQL does with names in UTF8. */
function lowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

const FRAGMENTS = [
  ...['select', 'x', 'E', 'u', 'b', 'n', 'U&', 'é', 'a$b', '_1', 'NULL', 'uescape', 'temp'],
  ...["'", "''", '"', '""', '\\', "\\'", '$', '$$', '$a$', '$a', '$1', '$12', '$é$', 'a$'],
  ...['-', '--', '/', '*', '/*', '*/', '+', '<', '=', '|', '~', '@', '#', '&', '?', '%', '!', '^'],
  ...['(', ')', '[', ']', ',', ';', '.', ':', '::', ' ', '\n', '\t', '\r', '\f'],
  ...['0', '1', '42', '0x1F', '1.5', '.5', '1e5', '1e-', '1e', '1_0', '0b1', '1.'],
];

describe('tokens', () => {
  test('of the corpus are those of PostgreSQL', () => {
    for (const { text } of short) {
      expect([text, ...TokenNotes.of(text)]).toEqual([text, ...officialTokens(text)]);
    }
  });

  test.each([
    "select b''''",
    "select b'0''1\\'",
    'select1.5.x',
    '1..2',
    '1.5..2',
    "E'a' /* x */\n'\\'",
    '1.e5',
    'a.1',
    '..1',
  ])('of %p are those of PostgreSQL', (text) => {
    expect(TokenNotes.of(text)).toEqual(officialTokens(text));
  });

  test('of arbitrary fragments are those of PostgreSQL', () => {
    let compared = 0;
    const fragments = fc.array(fc.constantFrom(...FRAGMENTS), { minLength: 1, maxLength: 10 });
    const check = fc.property(fragments, (parts) => {
      const text = parts.join('');
      const official = attempt(() => officialTokens(text));
      if (official === undefined) return;
      compared += 1;
      expect(TokenNotes.of(text)).toEqual(official);
    });
    fc.assert(check, { seed: 26, numRuns: 10_000 });
    expect(compared).toBeGreaterThan(1000);
  });
});

/** Nothing if PostgreSQL refuses the text. */
function attempt<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch {
    return undefined;
  }
}

describe('statements', () => {
  test('are split as PostgreSQL splits them, however they are put together', () => {
    const records = fc.array(fc.constantFrom(...short), { minLength: 1, maxLength: 4 });
    const check = fc.property(records, (chosen) => {
      const text = chosen.map((record) => record.text).join('\n;\n');
      const reasons = new Set(chosen.flatMap((record) => record.reasons));
      const found = scan(encode(text));
      expect(new Set(found.reasons)).toEqual(reasons);
      expect(found.statements).toHaveLength(statementNodes(text).length);
    });
    fc.assert(check, { seed: 35, numRuns: 2000 });
  });
});
