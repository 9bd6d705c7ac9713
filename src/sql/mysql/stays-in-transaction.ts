/**
 * Whether a text leaves its transaction open, whatever it does there. Asked of statements that are sent in a
 * transaction, for the case that their answer never comes; in doubt it may end it.
 * https://dev.mysql.com/doc/refman/en/implicit-commit.html
 */

/** What functions and triggers do besides cannot end it either. */
const STAYING = /^(?:select|insert|update|delete|replace|with|values|table|show|savepoint)\b/i;
/** Space, and comments that no server runs. */
const SPACE = /^(?:\s|\/\*(?![!M])[^*]*\*\/|--\s[^\n]*\n|#[^\n]*\n)*/;
/** The verb comes early, or what comes before it is not worth the look. */
const HEAD_MAX = 256;
const SEMICOLON = 0x3b;

/** `mayBeSeveral`: it may be several statements, which a semicolon tells. */
export function staysInTransaction(
  bytes: Buffer,
  from: number,
  to: number,
  mayBeSeveral: boolean,
): boolean {
  const head = bytes.toString('latin1', from, Math.min(to, from + HEAD_MAX));
  if (!STAYING.test(head.replace(SPACE, ''))) return false;
  if (!mayBeSeveral) return true;
  const semicolon = bytes.indexOf(SEMICOLON, from);
  return (
    semicolon < 0 || semicolon >= to || bytes.toString('latin1', semicolon + 1, to).trim() === ''
  );
}
