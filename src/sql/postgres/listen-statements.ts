/**
 * Reads texts about notification channels: those that are nothing but LISTEN and UNLISTEN statements,
 * as drivers send them, and what any other text of a listening session may say of its channels.
 * https://www.postgresql.org/docs/current/sql-listen.html
 *
 * Texts and names are latin1: one character for each byte.
 */

export type ListenStatement =
  /** The channel as the server reads it: folded to lower case unless it was quoted, cut at 63 bytes. */
  | { readonly kind: 'listen'; readonly channel: string }
  | { readonly kind: 'unlisten'; readonly channel: string }
  | { readonly kind: 'unlisten_all' };

/** NAMEDATALEN - 1: the server cuts longer names. */
const NAME_BYTES_MAX = 63;
/** Longer texts are something else. */
const TEXT_MAX = 16_384;

const WORD = /[a-z_][a-z0-9_$]*(?![\x80-\xff])/iy;
const QUOTED_NAME = /"((?:[^"\0]|"")+)"/y;
/** White space and comments; a comment inside a comment is left to the server. */
const GAP = /(?:[ \t\n\r\f]+|--[^\n\r]*|\/\*(?:[^*/]|\*(?!\/)|\/(?!\*))*\*\/)*/y;
const SEMICOLONS = /(?:[; \t\n\r\f]+|--[^\n\r]*|\/\*(?:[^*/]|\*(?!\/)|\/(?!\*))*\*\/)*/y;
const NOT_ASCII = /[\x80-\xff]/;

/** The statements of `text` in their order; `undefined` when anything in it is something else. */
export function recogniseListen(text: string): readonly ListenStatement[] | undefined {
  if (text.length > TEXT_MAX) return undefined;
  const reader = new Reader(text);
  const statements: ListenStatement[] = [];
  reader.skip(SEMICOLONS);
  while (!reader.isAtEnd) {
    const statement = readStatement(reader);
    if (statement === undefined) return undefined;
    statements.push(statement);
    reader.skip(GAP);
    if (!reader.isAtEnd && !reader.isAt(';')) return undefined;
    reader.skip(SEMICOLONS);
  }
  return statements.length > 0 ? statements : undefined;
}

function readStatement(reader: Reader): ListenStatement | undefined {
  const word = reader.read(WORD)?.toLowerCase();
  if (word !== 'listen' && word !== 'unlisten') return undefined;
  reader.skip(GAP);
  if (word === 'unlisten' && reader.take('*')) return { kind: 'unlisten_all' };
  const channel = readName(reader);
  return channel === undefined ? undefined : { kind: word, channel };
}

/** `undefined` also for names that cannot be told for sure here. */
function readName(reader: Reader): string | undefined {
  const plain = reader.read(WORD);
  const name = plain?.toLowerCase() ?? reader.readQuoted();
  if (name === undefined || name.length <= NAME_BYTES_MAX) return name;
  // Where it is cut depends on the encoding.
  return NOT_ASCII.test(name) ? undefined : name.slice(0, NAME_BYTES_MAX);
}

class Reader {
  private readonly text: string;
  private at = 0;

  constructor(text: string) {
    this.text = text;
  }

  get isAtEnd(): boolean {
    return this.at === this.text.length;
  }

  isAt(character: string): boolean {
    return this.text[this.at] === character;
  }

  take(character: string): boolean {
    const isThere = this.isAt(character);
    if (isThere) this.at++;
    return isThere;
  }

  skip(pattern: RegExp): void {
    this.match(pattern);
  }

  read(pattern: RegExp): string | undefined {
    return this.match(pattern)?.[0];
  }

  readQuoted(): string | undefined {
    return this.match(QUOTED_NAME)?.[1]?.replaceAll('""', '"');
  }

  private match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text) ?? undefined;
    if (found !== undefined) this.at = pattern.lastIndex;
    return found;
  }
}

const UNLISTEN_SOMEWHERE = /\bunlisten\b/gi;
/** NOTIFY and `pg_notify`, and all sorts of other words: it costs little to be wrong. */
const NOTIFY_SOMEWHERE = /notify/i;

/**
 * The UNLISTEN statements that may be in any text, in their order. A text can look as if there were
 * more of them than there are (in a string, say); the number of its answers tells.
 */
export function unlistensIn(text: string): readonly ListenStatement[] {
  const statements: ListenStatement[] = [];
  for (const { index } of text.matchAll(UNLISTEN_SOMEWHERE)) {
    const statement = readStatement(new Reader(text.slice(index, index + TEXT_MAX)));
    if (statement !== undefined) statements.push(statement);
  }
  return statements;
}

/** Whether running the text may notify somebody, as far as the text itself says. */
export function mayNotify(text: string): boolean {
  return NOTIFY_SOMEWHERE.test(text);
}
