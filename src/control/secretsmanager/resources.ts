/** Which secret a request is about, as an ARN for policies. */

import { z } from 'zod';
import { secretArn } from '../secret-arn.ts';
import type { DesiredState } from '../state/desired-state.ts';

const naming = z.object({ SecretId: z.string().optional(), Name: z.string().optional() });

/** As in AWS, one that is not there has the ARN that its name makes. */
export function resourcesOf(input: unknown, state: DesiredState): readonly string[] {
  const { SecretId, Name } = naming.safeParse(input).data ?? {};
  const name = SecretId ?? Name;
  if (name === undefined) return ['*'];
  const found = SecretId === undefined ? undefined : state.findSecret(SecretId);
  if (found !== undefined) return [secretArn(state.owner, found.record.id)];
  return [name.startsWith('arn:') ? name : secretArn(state.owner, name)];
}
