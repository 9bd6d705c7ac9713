/**
 * What a statement may leave behind in its session once its transaction is over.
 *
 * The reasons are those of `observe/reasons.ts` that a statement's text can give. They are listed
 * again here because `sql` is below `observe`; a test keeps the one list inside the other.
 *
 * Effects are interned: the same set of reasons is the same frozen object, and a statement that
 * leaves nothing behind is `PLAIN`, so callers compare by identity and nothing is allocated.
 */

/** The reasons to pin that a statement's text can give. */
export const SQL_PIN_REASONS = [
  'set',
  'temporary_object',
  'listen',
  'sql_prepare',
  'hold_cursor',
  'advisory_lock',
  'load',
  'sequence',
  'snapshot',
  'unknown',
] as const;
export type SqlPinReason = (typeof SQL_PIN_REASONS)[number];

/** What a text may do to its session beyond its transaction. */
export interface Effects {
  /** In the order of `SQL_PIN_REASONS`, each at most once; empty for a plain statement. */
  readonly reasons: readonly SqlPinReason[];
  /** It may take away what an earlier statement has left: the last reason to pin may be gone. */
  readonly mayClear: boolean;
  /** It is, among other things, a DEALLOCATE or DISCARD: prepared statements may be gone. */
  readonly isForgetting: boolean;
  /**
   * Until the end of the transaction other texts may be read in another way: names found elsewhere,
   * constants understood otherwise. What is prepared meanwhile is good for this session alone.
   */
  readonly isReadingLocal: boolean;
}

/** A set of reasons as bits; bit n is `SQL_PIN_REASONS[n]`. */
export type ReasonSet = number;

export const NO_REASONS: ReasonSet = 0;

/** The bits of the other fields of `Effects`, beside those of the reasons. */
export const READS_LOCALLY: ReasonSet = 1 << SQL_PIN_REASONS.length;
export const MAY_CLEAR: ReasonSet = READS_LOCALLY << 1;
export const FORGETS_STATEMENTS: ReasonSet = READS_LOCALLY << 2;

/** The set that holds one reason. */
export function reasonSet(reason: SqlPinReason): ReasonSet {
  return 1 << SQL_PIN_REASONS.indexOf(reason);
}

const interned = new Map<ReasonSet, Effects>();

/** The one `Effects` object for a set of reasons. At most 2^13 can ever exist. */
export function effectsOf(set: ReasonSet): Effects {
  if (set === NO_REASONS) return PLAIN;
  const known = interned.get(set);
  if (known !== undefined) return known;
  const reasons = SQL_PIN_REASONS.filter((_, bit) => (set & (1 << bit)) !== 0);
  const effects = freeze(reasons, set);
  interned.set(set, effects);
  return effects;
}

/** Nothing outlives the transaction: the connection may serve another client afterwards. */
export const PLAIN: Effects = freeze([], NO_REASONS);

function freeze(reasons: readonly SqlPinReason[], set: ReasonSet): Effects {
  return Object.freeze({
    reasons: Object.freeze(reasons),
    mayClear: (set & MAY_CLEAR) !== 0,
    isForgetting: (set & FORGETS_STATEMENTS) !== 0,
    isReadingLocal: (set & READS_LOCALLY) !== 0,
  });
}
