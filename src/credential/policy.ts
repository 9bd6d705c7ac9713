/**
 * Decides what a principal may do, as AWS IAM does with identity-based policies: what is not allowed is
 * denied, and one Deny outweighs every Allow. Pure; knows neither services nor resources.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
 */

export interface PolicyStatement {
  readonly Effect: 'Allow' | 'Deny';
  /** Patterns such as `rds:Describe*`; the case of letters does not matter. */
  readonly Action: readonly string[];
  /** Patterns of ARNs; the case of letters matters. */
  readonly Resource: readonly string[];
}

export type Decision = 'allowed' | 'denied_explicitly' | 'not_allowed';

/** What `statements`, of all policies together, say to `action` on `resource`. */
export function decide(
  statements: readonly PolicyStatement[],
  action: string,
  resource: string,
): Decision {
  let decision: Decision = 'not_allowed';
  for (const statement of statements) {
    if (!concerns(statement, action, resource)) continue;
    if (statement.Effect === 'Deny') return 'denied_explicitly';
    decision = 'allowed';
  }
  return decision;
}

function concerns({ Action, Resource }: PolicyStatement, action: string, resource: string) {
  const lower = action.toLowerCase();
  return (
    Action.some((pattern) => fits(pattern.toLowerCase(), lower)) &&
    Resource.some((pattern) => fits(pattern, resource))
  );
}

/**
 * Whether `*` (any text, also none, also over colons and slashes) and `?` (one character) of `pattern` make
 * `text`. Never slower than the product of both lengths, whatever the pattern.
 */
export function fits(pattern: string, text: string): boolean {
  let at = 0;
  let read = 0;
  /** Behind the last `*`, and how much of the text was read when it was met. */
  let behindStar = -1;
  let readAtStar = 0;
  while (read < text.length) {
    const expected = pattern[at];
    if (expected === '*') {
      behindStar = ++at;
      readAtStar = read;
    } else if (expected === '?' || (expected !== undefined && expected === text[read])) {
      at++;
      read++;
    } else if (behindStar >= 0) {
      // The last star takes one character more.
      at = behindStar;
      read = ++readAtStar;
    } else {
      return false;
    }
  }
  while (pattern[at] === '*') at++;
  return at === pattern.length;
}
