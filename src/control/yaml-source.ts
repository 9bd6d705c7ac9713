/**
 * A YAML file as a plain value that still knows on which line each part stands. Syntax errors are
 * worded here, by their code: the parser's own messages quote the source, and the source may hold a
 * password.
 */

import {
  type Document,
  type ErrorCode,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  parseDocument,
} from 'yaml';
import type { Path, Problem } from './configuration-error.ts';

/** Each alias may repeat what it names this often before the file is refused as a bomb. */
const ALIASES_MAX = 100;

const SYNTAX: Record<ErrorCode, string> = {
  ALIAS_PROPS: 'an alias (*name) cannot have a tag or an anchor of its own',
  BAD_ALIAS: 'an alias (*name) without its anchor (&name); put text that begins with * in quotes',
  BAD_COLLECTION_TYPE: 'a tag that does not fit the list or mapping after it',
  BAD_DIRECTIVE: 'a line that begins with % is a YAML directive, and this is none',
  BAD_DQ_ESCAPE: 'an unknown escape (backslash) in text in double quotes; use single quotes',
  BAD_INDENT: 'the indentation does not fit the lines above',
  BAD_PROP_ORDER: 'a tag or an anchor in the wrong place',
  BAD_SCALAR_START: 'text that begins with this character has to be in quotes',
  BLOCK_AS_IMPLICIT_KEY: 'a second "key: value" on the same line; put text with ": " in quotes',
  BLOCK_IN_FLOW: 'indented lines inside { } or [ ]',
  DUPLICATE_KEY: 'this key is in the same mapping twice',
  IMPOSSIBLE: 'this is not YAML',
  KEY_OVER_1024_CHARS: 'a key of more than 1024 characters',
  MISSING_CHAR:
    'something is missing here: a closing quote or bracket, a colon, a comma or a space',
  MULTILINE_IMPLICIT_KEY: 'a key that goes over several lines, or a line without a colon',
  MULTIPLE_ANCHORS: 'more than one anchor on the same value',
  MULTIPLE_DOCS: 'a second document (---) in the file; there can be one',
  MULTIPLE_TAGS: 'more than one tag on the same value',
  NON_STRING_KEY: 'a key that is no text',
  RESOURCE_EXHAUSTION: 'nested too deeply',
  TAB_AS_INDENT: 'a tab in the indentation; use spaces',
  TAG_RESOLVE_FAILED: 'an unknown tag (!name); put text that begins with ! in quotes',
  UNEXPECTED_TOKEN:
    'an unexpected character; inside { } and [ ], text that has some itself needs quotes',
};

export interface YamlSource {
  /** What the file says; undefined when it says nothing. */
  readonly value: unknown;
  /** Line of the value at `path`, or of the nearest thing around it that is in the file. */
  lineOf(path: Path): number;
  /** Line of the key at the end of `path`. */
  lineOfKey(path: Path): number;
  /** True for text without quotes, which is where YAML would have read a number or a truth value. */
  isUnquoted(path: Path): boolean;
}

/** The file's value, or what is wrong with its syntax. */
export function readYaml(text: string): YamlSource | { readonly problems: readonly Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const faults = [...document.errors, ...document.warnings];
  if (faults.length > 0) {
    const problems = worthTelling(faults).map(({ code, pos }) => {
      const { line, col } = lines.linePos(pos[0]);
      return { line, path: undefined, text: `not valid YAML at column ${col}: ${SYNTAX[code]}` };
    });
    return { problems };
  }
  try {
    const value: unknown = document.toJS({ maxAliasCount: ALIASES_MAX });
    return new ParsedYaml(document, lines, value ?? undefined);
  } catch {
    const text = 'not valid YAML: too many aliases (*name)';
    return { problems: [{ line: 1, path: undefined, text }] };
  }
}

/** After the first error of syntax the parser is lost, and what it says of the rest is noise. */
function worthTelling<Fault extends { readonly code: ErrorCode }>(
  faults: readonly Fault[],
): readonly Fault[] {
  const first = faults.find(({ code }) => code !== 'DUPLICATE_KEY');
  return faults.filter((fault) => fault === first || fault.code === 'DUPLICATE_KEY');
}

class ParsedYaml implements YamlSource {
  readonly value: unknown;
  private readonly document: Document;
  private readonly lines: LineCounter;

  constructor(document: Document, lines: LineCounter, value: unknown) {
    this.document = document;
    this.lines = lines;
    this.value = value;
  }

  lineOf(path: Path): number {
    const { value, key } = this.find(path);
    // A mapping or list begins on the line after its key; the key is where one looks.
    return this.line(isScalar(value) ? value : (key ?? value));
  }

  lineOfKey(path: Path): number {
    const { value, key } = this.find(path);
    return this.line(key ?? value);
  }

  isUnquoted(path: Path): boolean {
    const { value, isExact } = this.find(path);
    return isExact && isScalar(value) && value.type === 'PLAIN';
  }

  /** The node at `path` and its key, or those of the deepest part of `path` that exists. */
  private find(path: Path): { value: unknown; key: unknown; isExact: boolean } {
    let value: unknown = this.document.contents;
    let key: unknown;
    for (const step of path) {
      const next = childOf(this.resolve(value), step);
      if (next === undefined) return { value, key, isExact: false };
      ({ value, key } = next);
    }
    return { value: this.resolve(value), key, isExact: true };
  }

  private resolve(node: unknown): unknown {
    return isAlias(node) ? node.resolve(this.document) : node;
  }

  private line(node: unknown): number {
    const range = (node as { range?: readonly number[] } | null | undefined)?.range;
    return range?.[0] === undefined ? 1 : this.lines.linePos(range[0]).line;
  }
}

function childOf(
  node: unknown,
  step: string | number,
): { value: unknown; key: unknown } | undefined {
  if (isSeq(node) && typeof step === 'number') {
    const value = node.items[step];
    return value === undefined ? undefined : { value, key: undefined };
  }
  if (!isMap(node)) return undefined;
  const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
  return pair === undefined ? undefined : { value: pair.value ?? pair.key, key: pair.key };
}
