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
  'discard',
  'unknown',
] as const;
export type SqlPinReason = (typeof SQL_PIN_REASONS)[number];

/** What a text may do to its session beyond its transaction. */
export interface Effects {
  /** In the order of `SQL_PIN_REASONS`, each at most once; empty for a plain statement. */
  readonly reasons: readonly SqlPinReason[];
  /**
   * Until the end of the transaction other texts may be read in another way: names found elsewhere,
   * constants understood otherwise. What is prepared meanwhile is good for this session alone.
   */
  readonly isReadingLocal: boolean;
}

/** A set of reasons as bits; bit n is `SQL_PIN_REASONS[n]`. */
export type ReasonSet = number;

export const NO_REASONS: ReasonSet = 0;

/** The bit of `Effects.isReadingLocal`, beside those of the reasons. */
export const READS_LOCALLY: ReasonSet = 1 << SQL_PIN_REASONS.length;

/** The set that holds one reason. */
export function reasonSet(reason: SqlPinReason): ReasonSet {
  return 1 << SQL_PIN_REASONS.indexOf(reason);
}

const interned = new Map<ReasonSet, Effects>();

/** The one `Effects` object for a set of reasons. At most 2^12 can ever exist. */
export function effectsOf(set: ReasonSet): Effects {
  if (set === NO_REASONS) return PLAIN;
  const known = interned.get(set);
  if (known !== undefined) return known;
  const reasons = SQL_PIN_REASONS.filter((_, bit) => (set & (1 << bit)) !== 0);
  const effects = freeze(reasons, (set & READS_LOCALLY) !== 0);
  interned.set(set, effects);
  return effects;
}

/** Nothing outlives the transaction: the connection may serve another client afterwards. */
export const PLAIN: Effects = freeze([], false);

function freeze(reasons: readonly SqlPinReason[], isReadingLocal: boolean): Effects {
  return Object.freeze({ reasons: Object.freeze(reasons), isReadingLocal });
}
