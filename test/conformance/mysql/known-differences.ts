/**
 * Cases whose answers through the proxy are known to differ, and why. They are shown as `todo`. What cannot be
 * otherwise is in docs/differences.md too; the rest is to be mended, and then its line here goes.
 */

import type { MysqlProduct } from '../../../src/embedded/mysql.ts';
import type { Case } from './steps.ts';

interface Known {
  /** The beginning of the names of its cases. */
  readonly cases: string;
  /** Only there; default: everywhere. */
  readonly product?: MysqlProduct;
  /** Only where sessions are moved to another connection whenever they may. */
  readonly isOfMoved?: true;
  readonly why: string;
}

const KNOWN: readonly Known[] = [
  { cases: 'sql/my22-session-track', why: '@@session_track_... shows what the proxy has set' },
  { cases: 'sql/my27-connection-id', why: "CONNECTION_ID() is the database connection's" },
  { cases: 'sql/my43-locks', why: "IS_USED_LOCK() gives the database connection's number" },
  {
    cases: 'sql/my23-release',
    why: 'the connection that COMMIT RELEASE ends may be lent once more before it has ended',
  },
  {
    cases: 'sql/my32-charset',
    why: 'the number of the collation in the metadata of results, after another collation was set',
  },
  {
    cases: 'sql/my41-warnings-kept',
    why: 'a connection is kept for as long as its last answer says that there are warnings',
  },
  {
    cases: 'sql/my41-found-rows',
    isOfMoved: true,
    why: 'ROW_COUNT() and FOUND_ROWS(), when somebody else has had the connection since',
  },
  { cases: 'raw/my25-change-user', why: "the host in the text of 1045 is '%'" },
  {
    cases: 'sql/my23-implicit-commit',
    product: 'MySQL',
    why: 'MySQL tells of the beginning and end of transactions although nobody asked',
  },
  { cases: 'sql/my23-transactions', product: 'MySQL', why: 'the same' },
  { cases: 'sql/my24-procedures', product: 'MySQL', why: 'the same' },
  {
    cases: 'raw/my45-changed-tables',
    product: 'MySQL',
    why: 'ALTER TABLE reports a changed session state that a direct connection does not report',
  },
  {
    cases: 'raw/my45-types-once',
    product: 'MySQL',
    why: 'each combination of parameter types has a statement of its own',
  },
  {
    cases: 'raw/my24-binary-procedures',
    product: 'MySQL',
    why: 'the flags of the EOF behind OUT parameters, for a client without DEPRECATE_EOF',
  },
  {
    cases: 'raw/my20-frames',
    product: 'MySQL',
    why: 'the sequence number of the error about an execute of several packets',
  },
];

export function whyDifferent(
  { name }: Case,
  product: MysqlProduct,
  isMoved: boolean,
): string | undefined {
  return KNOWN.find(
    (each) =>
      name.startsWith(each.cases) &&
      (each.product ?? product) === product &&
      (isMoved || each.isOfMoved !== true),
  )?.why;
}

/** Each line must be about a case that there is. */
export function unusedDifferences(cases: readonly Case[]): string[] {
  return KNOWN.map((each) => each.cases).filter(
    (beginning) => !cases.some(({ name }) => name.startsWith(beginning)),
  );
}
