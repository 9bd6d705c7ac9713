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

/** Not what JavaScript takes for white space: bytes over 0x7f are letters to a server. */
const BLANK = '[ \\t\\n\\r\\f\\v]';
/** A comment within a comment is left to the classifier. */
const COMMENT = '--[^\\n\\r]*(?:[\\n\\r]|$)|/\\*(?:[^*/]|\\*(?!/)|/(?!\\*))*\\*/';
const SPACE = `(?:${BLANK}|${COMMENT})*`;
const GAP = `(?:${BLANK}|${COMMENT})${SPACE}`;
const IDENTIFIER =
  '(?:"(?<quoted>(?:[^"\\0]|"")+)"|(?<plain>[a-z_\\x80-\\xff][a-z0-9_$\\x80-\\xff]*))';
const DEALLOCATE = new RegExp(
  `^${SPACE}deallocate${GAP}(?:prepare${GAP})?${IDENTIFIER}${SPACE};?${SPACE}$`,
  'i',
);
const EXECUTE = new RegExp(
  `^${SPACE}execute${GAP}${IDENTIFIER}(?<rest>${SPACE}(?:\\([^;]*\\))?${SPACE};?${SPACE})$`,
  'i',
);
const DISCARD_ALL = new RegExp(`^${SPACE}discard${GAP}all${SPACE};?${SPACE}$`, 'i');
/** Longer texts are something else. */
const TEXT_MAX = 4_096;

export function recogniseNamed(text: string): NamedStatement | undefined {
  if (text.length > TEXT_MAX) return undefined;
  if (DISCARD_ALL.test(text)) return { kind: 'discard_all' };
  const deallocate = DEALLOCATE.exec(text)?.groups;
  if (deallocate !== undefined) {
    const name = nameIn(deallocate);
    if (deallocate.plain !== undefined && name === 'all') return { kind: 'deallocate_all' };
    return { kind: 'deallocate', name };
  }
  const execute = EXECUTE.exec(text)?.groups;
  if (execute === undefined) return undefined;
  return { kind: 'execute', name: nameIn(execute), rest: execute.rest ?? '' };
}

function nameIn({ quoted, plain }: Record<string, string | undefined>): string {
  return quoted === undefined ? folded(plain ?? '') : quoted.replaceAll('""', '"');
}

/** Only ASCII: a byte over 0x7f is a part of a character. */
function folded(name: string): string {
  return name.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
}
