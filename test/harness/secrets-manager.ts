/** The official clients of the Secrets Manager API: AWS's SDK, and its command line where the machine has it. */

import {
  SecretsManagerClient,
  SecretsManagerServiceException,
} from '@aws-sdk/client-secrets-manager';
import type { Berth } from './berth.ts';
import type { ProgramResult } from './programs.ts';
import { aws, REGION, TEST_KEY } from './rds.ts';

/** One attempt each: what fails once has failed. */
export function secretsClient(
  { apiUrl: endpoint }: Pick<Berth, 'apiUrl'>,
  { credentials = TEST_KEY, region = REGION } = {},
): SecretsManagerClient {
  return new SecretsManagerClient({ endpoint, region, credentials, maxAttempts: 1 });
}

/** What an operation is refused with. */
export async function secretsFaultOf(answer: Promise<unknown>) {
  const error: unknown = await answer.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SecretsManagerServiceException)) {
    throw error ?? new Error('it was not refused');
  }
  const { name: code, message, $metadata } = error;
  return { code, message, status: $metadata.httpStatusCode };
}

/** Runs `aws secretsmanager ...`, as `aws` of `rds.ts` does. */
export function awsSecrets(berth: Pick<Berth, 'apiUrl'>, command: string): Promise<ProgramResult> {
  return aws(berth, command, TEST_KEY, 'secretsmanager');
}
