/**
 * Who there is: users with access keys and roles with sessions, as in AWS IAM, and what their policies allow
 * them. Built whole from desired state, and replaced whole when that changes.
 */

import { type Decision, decide, type PolicyStatement } from './policy.ts';
import type { Secret } from './secret.ts';

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: Secret;
  /** Of temporary credentials, which are worth nothing without it. */
  readonly sessionToken: Secret | undefined;
  /** Milliseconds since 1970; undefined: never. */
  readonly expiresAt: number | undefined;
  /** Whose it is: of a user, or of a session of a role. */
  readonly arn: string;
  /** Of all policies of the user or the role. */
  readonly statements: readonly PolicyStatement[];
}

export class Principals {
  static readonly NONE = new Principals([]);
  private readonly byId: ReadonlyMap<string, AccessKey>;

  /** Ids of keys are unique. */
  constructor(keys: readonly AccessKey[]) {
    this.byId = new Map(keys.map((key) => [key.accessKeyId, key]));
  }

  get isEmpty(): boolean {
    return this.byId.size === 0;
  }

  find(accessKeyId: string): AccessKey | undefined {
    return this.byId.get(accessKeyId);
  }
}

/** What the owner of a key may do. */
export function decisionFor(
  { statements }: Pick<AccessKey, 'statements'>,
  action: string,
  resource: string,
): Decision {
  return decide(statements, action, resource);
}
