/**
 * A secret of the file has an ARN like one of AWS Secrets Manager, so that a configuration made for
 * RDS Proxy can keep its `SecretArn`. The six random characters that AWS puts at the end are optional.
 */

export interface SecretOwner {
  readonly region: string;
  readonly accountId: string;
}

/** Whether it looks like an ARN of a secret, of whatever account. */
export function isSecretArn(text: string): boolean {
  return /^arn:[\w-]+:secretsmanager:[\w-]+:\d{12}:secret:./.test(text);
}

/** True when `nameOrArn` means the secret called `name`. */
export function matchesArn(name: string, nameOrArn: string, owner: SecretOwner): boolean {
  if (nameOrArn === name) return true;
  const prefix = `arn:aws:secretsmanager:${owner.region}:${owner.accountId}:secret:${name}`;
  if (!nameOrArn.startsWith(prefix)) return false;
  return /^(?:-[A-Za-z0-9]{6})?$/.test(nameOrArn.slice(prefix.length));
}

/** `id` is the name, with or without the six characters. */
export function secretArn({ region, accountId }: SecretOwner, id: string): string {
  return `arn:aws:secretsmanager:${region}:${accountId}:secret:${id}`;
}
