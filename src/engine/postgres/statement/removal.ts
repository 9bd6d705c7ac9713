/** Texts that take prepared statements away: DEALLOCATE, DISCARD ALL. */

import { type Effects, PLAIN } from '../../../sql/postgres/effects.ts';
import { recogniseNamed, type StatementRemoval } from '../../../sql/postgres/statement-names.ts';
import { escapedName, quoted, SERVER_NAME_PREFIX } from './names.ts';

/** Whether the text may be about prepared statements; which ones, it must be read for. */
export function mayNameStatements({ reasons, isForgetting }: Effects): boolean {
  return isForgetting || reasons.includes('sql_prepare');
}

/** What a text, `bytes[from, to)`, takes away when it is executed, if it is about nothing else. */
export function removalIn(
  effects: Effects,
  bytes: Buffer,
  from: number,
  to: number,
): StatementRemoval | undefined {
  if (effects === PLAIN || !mayNameStatements(effects)) return undefined;
  const named = recogniseNamed(bytes.toString('latin1', from, to));
  return named?.kind === 'execute' ? undefined : named;
}

/** The text of a Parse, with its NUL, that is to say `removal` in the database's names. */
export function removalText(removal: StatementRemoval): Buffer | undefined {
  if (removal.kind !== 'deallocate' || !removal.name.startsWith(SERVER_NAME_PREFIX))
    return undefined;
  return Buffer.from(`DEALLOCATE ${quoted(escapedName(removal.name))}\0`, 'latin1');
}
