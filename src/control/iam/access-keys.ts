/** From principals as they are written down to the keys that they sign with. */

import type { PolicyStatement } from '../../credential/policy.ts';
import type { AccessKey } from '../../credential/principals.ts';
import { Secret } from '../../credential/secret.ts';
import type { Principal } from '../schema.ts';
import type { SecretOwner } from '../secret-arn.ts';

export function accessKeysOf(principal: Principal, owner: SecretOwner): readonly AccessKey[] {
  const { UserName, RoleName, AccessKeys, Sessions, Policies } = principal;
  const statements: readonly PolicyStatement[] = Policies.flatMap(
    ({ PolicyDocument }) => PolicyDocument.Statement,
  );
  const ofUser = AccessKeys.map(({ AccessKeyId, SecretAccessKey }) => ({
    accessKeyId: AccessKeyId,
    secretAccessKey: new Secret(SecretAccessKey),
    sessionToken: undefined,
    expiresAt: undefined,
    arn: userArn(owner, UserName ?? ''),
    statements,
  }));
  const ofRole = Sessions.map((session) => ({
    accessKeyId: session.AccessKeyId,
    secretAccessKey: new Secret(session.SecretAccessKey),
    sessionToken: new Secret(session.SessionToken),
    expiresAt: session.Expiration === undefined ? undefined : Date.parse(session.Expiration),
    arn: sessionArn(owner, RoleName ?? '', session.RoleSessionName),
    statements,
  }));
  return [...ofUser, ...ofRole];
}

function userArn({ accountId }: SecretOwner, name: string): string {
  return `arn:aws:iam::${accountId}:user/${name}`;
}

/** IAM has two ARNs for a role: its own, and those of who has taken it. Only the latter do something. */
function sessionArn({ accountId }: SecretOwner, role: string, session: string): string {
  return `arn:aws:sts::${accountId}:assumed-role/${role}/${session}`;
}
