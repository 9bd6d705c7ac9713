/**
 * Recognises a text that is nothing but one BEGIN, COMMIT or ROLLBACK, as drivers send them. Whatever is
 * more than that is not recognised. https://www.postgresql.org/docs/current/sql-commit.html
 */

export type TransactionVerb = 'begin' | 'commit' | 'rollback';

const COMMENT = /\/\*[^*]*\*\//g;
const BEGIN = /^(?:begin|start transaction)(?: [a-z, ]*)?$/;
const COMMIT = /^(?:commit|end)(?: (?:work|transaction))?(?: and no chain)?$/;
const ROLLBACK = /^(?:rollback|abort)(?: (?:work|transaction))?(?: and no chain)?$/;

export function transactionVerb(text: string): TransactionVerb | undefined {
  const words = text
    .replace(COMMENT, ' ')
    .replace(/\s+/g, ' ')
    .replace(/ ?; ?$/, '')
    .trim();
  const folded = words.toLowerCase();
  if (COMMIT.test(folded)) return 'commit';
  if (ROLLBACK.test(folded)) return 'rollback';
  return BEGIN.test(folded) ? 'begin' : undefined;
}
