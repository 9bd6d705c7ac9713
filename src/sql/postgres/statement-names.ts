/**
 * Recognises a text that is nothing but one DEALLOCATE, DISCARD ALL or EXECUTE, as drivers and pools
 * send them. Anything more than white space around it is not recognised; the classifier judges that.
 * https://www.postgresql.org/docs/current/sql-deallocate.html
 *
 * Texts and names are latin1: one character for each byte.
 */

export type NamedStatement =
  | { readonly kind: 'deallocate_all' }
  | { readonly kind: 'discard_all' }
  /** The name as the server reads it: folded to lower case unless it was quoted. */
  | { readonly kind: 'deallocate'; readonly name: string }
  /** `rest` is what follows the name. */
  | { readonly kind: 'execute'; readonly name: string; readonly rest: string };

const IDENTIFIER = '(?:"(?<quoted>(?:[^"\\0]|"")+)"|(?<plain>[a-z_][a-z0-9_$]*))';
const DEALLOCATE = new RegExp(`^\\s*deallocate\\s+(?:prepare\\s+)?${IDENTIFIER}\\s*;?\\s*$`, 'i');
const EXECUTE = new RegExp(
  `^\\s*execute\\s+${IDENTIFIER}(?<rest>\\s*(?:\\([^;]*\\))?\\s*;?\\s*)$`,
  'i',
);
const DISCARD_ALL = /^\s*discard\s+all\s*;?\s*$/i;
/** Longer texts are something else. */
const TEXT_MAX = 4_096;

export function recogniseNamed(text: string): NamedStatement | undefined {
  if (text.length > TEXT_MAX) return undefined;
  if (DISCARD_ALL.test(text)) return { kind: 'discard_all' };
  const deallocate = DEALLOCATE.exec(text)?.groups;
  if (deallocate !== undefined) {
    if (deallocate.plain?.toLowerCase() === 'all') return { kind: 'deallocate_all' };
    return { kind: 'deallocate', name: nameIn(deallocate) };
  }
  const execute = EXECUTE.exec(text)?.groups;
  if (execute === undefined) return undefined;
  return { kind: 'execute', name: nameIn(execute), rest: execute.rest ?? '' };
}

function nameIn({ quoted, plain }: Record<string, string | undefined>): string {
  return quoted === undefined ? (plain ?? '').toLowerCase() : quoted.replaceAll('""', '"');
}
