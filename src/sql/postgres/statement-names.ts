/**
 * Recognises a text that is nothing but one DEALLOCATE, DISCARD ALL or EXECUTE, as drivers and pools
 * send them. Anything more than white space and comments around it is not recognised; the classifier
 * judges that. https://www.postgresql.org/docs/current/sql-deallocate.html
 *
 * Texts and names are latin1: one character for each byte.
 */

/** A text that takes prepared statements away, and does nothing else to them. */
export type StatementRemoval =
  | { readonly kind: 'deallocate_all' }
  | { readonly kind: 'discard_all' }
  /** The name as the server reads it: folded to lower case unless it was quoted. */
  | { readonly kind: 'deallocate'; readonly name: string };

export type NamedStatement =
  | StatementRemoval
  /** `rest` is what follows the name. */
  | { readonly kind: 'execute'; readonly name: string; readonly rest: string };

/**
 * One part of a text at a time, each a pattern that cannot go back, so no text takes long. Space is not
 * what JavaScript takes for it: bytes over 0x7f are letters to a server. A comment within a comment is
 * left to the classifier.
 */
const SPACE = /(?:[ \t\n\r\f\v]|--[^\n\r]*(?:[\n\r]|$)|\/\*(?:[^*/]|\*(?!\/)|\/(?!\*))*\*\/)*/y;
const WORD = /[a-z_\x80-\xff][a-z0-9_$\x80-\xff]*/iy;
const QUOTED = /"(?:[^"\0]|"")+"/y;
/** Longer texts are something else. */
const TEXT_MAX = 4_096;

export function recogniseNamed(text: string): NamedStatement | undefined {
  if (text.length > TEXT_MAX) return undefined;
  const parts = new Parts(text);
  const verb = parts.word();
  if (verb === 'deallocate') return deallocate(parts);
  if (verb === 'discard') {
    return parts.word() === 'all' && parts.isOver ? { kind: 'discard_all' } : undefined;
  }
  if (verb !== 'execute') return undefined;
  const name = parts.name();
  const { rest } = parts;
  if (name === undefined || !isArguments(rest)) return undefined;
  return { kind: 'execute', name, rest };
}

function deallocate(parts: Parts): StatementRemoval | undefined {
  const start = parts.at;
  // It may also be the name of a statement.
  const isPrepare = parts.word() === 'prepare' && !parts.isOver;
  if (!isPrepare) parts.at = start;
  const isQuoted = parts.isQuoted;
  const name = parts.name();
  if (name === undefined || !parts.isOver) return undefined;
  if (name === 'all' && !isQuoted) return { kind: 'deallocate_all' };
  return { kind: 'deallocate', name };
}

/** Nothing but an end, perhaps with something in parentheses before it. */
function isArguments(rest: string): boolean {
  const parts = new Parts(rest);
  if (rest[parts.at] === '(') {
    const end = rest.lastIndexOf(')');
    if (end < 0 || rest.slice(0, end).includes(';')) return false;
    parts.at = end + 1;
  }
  return parts.isOver;
}

class Parts {
  /** Where the next part begins, behind space; after setting it, `isOver` or a part comes first. */
  at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
    this.take(SPACE);
  }

  /** What is left, with the space before it. */
  get rest(): string {
    return this.text.slice(this.at);
  }

  get isQuoted(): boolean {
    return this.text[this.at] === '"';
  }

  /** Nothing follows but space and one semicolon. */
  get isOver(): boolean {
    const { at } = this;
    this.take(SPACE);
    if (this.text[this.at] === ';') this.at++;
    this.take(SPACE);
    const isOver = this.at === this.text.length;
    this.at = at;
    return isOver;
  }

  /** A word in lower case, and the space behind it. */
  word(): string {
    const word = folded(this.take(WORD));
    this.take(SPACE);
    return word;
  }

  /** A name as the server reads it; what follows is left. */
  name(): string | undefined {
    if (!this.isQuoted) return folded(this.take(WORD)) || undefined;
    const quoted = this.take(QUOTED);
    return quoted === '' ? undefined : quoted.slice(1, -1).replaceAll('""', '"');
  }

  private take(pattern: RegExp): string {
    pattern.lastIndex = this.at;
    const [found = ''] = pattern.exec(this.text) ?? [];
    this.at += found.length;
    return found;
  }
}

/** Only ASCII: a byte over 0x7f is a part of a character. */
function folded(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
