/**
 * What a soak saw: counts of everything that happened, and violations, which are what must never
 * happen. Only the first violations of a kind are kept in words; all are counted.
 */

export type ViolationKind =
  /** A row, notice or error of another client. */
  | 'foreign'
  /** A row of ours, but not of this statement; or rows missing or too many. */
  | 'wrong_rows'
  /** State of a session that another left behind, or ours gone. */
  | 'session_state'
  /** What was committed is not there, or what was rolled back is. */
  | 'lost_write'
  /** A statement was cancelled that nobody asked to cancel. */
  | 'foreign_cancel'
  | 'unexpected_error'
  /** One ended database connection told a client twice. */
  | 'second_fatal'
  | 'stuck'
  /** A login that should succeed did not, or the other way round. */
  | 'login'
  /** What was found after everybody had left. */
  | 'aftermath';

const WORDS_PER_KIND_MAX = 10;

export class Findings {
  readonly #tolerated: ReadonlySet<ViolationKind>;
  readonly #counts = new Map<string, number>();
  readonly #violations = new Map<ViolationKind, { count: number; words: string[] }>();

  /** Tolerated kinds are counted and not held against the subject. */
  constructor(tolerated: readonly ViolationKind[]) {
    this.#tolerated = new Set(tolerated);
  }

  count(what: string): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + 1);
  }

  counted(what: string): number {
    return this.#counts.get(what) ?? 0;
  }

  violation(kind: ViolationKind, words: string): void {
    if (this.#tolerated.has(kind)) {
      this.count(`tolerated ${kind}`);
      return;
    }
    const known = this.#violations.get(kind) ?? { count: 0, words: [] };
    known.count++;
    if (known.words.length < WORDS_PER_KIND_MAX) known.words.push(words);
    this.#violations.set(kind, known);
  }

  get violationCount(): number {
    return [...this.#violations.values()].reduce((sum, { count }) => sum + count, 0);
  }

  /** The counts under a prefix such as `operation `, most frequent first. */
  summaryOf(prefix: string): string {
    return [...this.#counts]
      .filter(([what]) => what.startsWith(prefix))
      .sort((a, b) => b[1] - a[1])
      .map(([what, count]) => `${what.slice(prefix.length)} ${count}`)
      .join(', ');
  }

  violationLines(): string[] {
    return [...this.#violations].flatMap(([kind, { count, words }]) => [
      `VIOLATION ${kind}: ${count}`,
      ...words.map((line) => `  ${line}`),
    ]);
  }
}
