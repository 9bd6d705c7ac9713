/** The official clients of the RDS API: AWS's SDK, and its command line where the machine has it. */

import { RDSClient, RDSServiceException } from '@aws-sdk/client-rds';
import type { Berth } from './berth.ts';
import { type ProgramResult, runProgram } from './programs.ts';

export const REGION = 'us-east-1';

export interface AccessKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export const TEST_KEY: AccessKey = { accessKeyId: 'AKIATEST', secretAccessKey: 'test-secret-key' };

/** One attempt each: what fails once has failed. */
export function rdsClient(
  { apiUrl: endpoint }: Pick<Berth, 'apiUrl'>,
  { credentials = TEST_KEY, region = REGION } = {},
): RDSClient {
  return new RDSClient({ endpoint, region, credentials, maxAttempts: 1 });
}

/** Addresses for the endpoints of one test file: files run at the same time. */
export function randomRange(): string {
  const part = () => 16 + Math.floor(Math.random() * 200);
  return `127.${part()}.${part()}.0/24`;
}

/** What all commands of the SDK have in common. */
export interface RdsCommand {
  readonly input: object;
}

/** For tests that send one command like another; the answer's type is lost. */
export function sendTo(client: RDSClient, command: RdsCommand): Promise<unknown> {
  return client.send(command as never);
}

/** What an operation is refused with. */
export async function faultOf(answer: Promise<unknown>) {
  const error: unknown = await answer.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof RDSServiceException)) throw error ?? new Error('it was not refused');
  const { name: code, message, $metadata, $fault: side } = error;
  return { code, message, status: $metadata.httpStatusCode, side };
}

/** Runs `aws rds ...`, or another `service`, with the words of `command`; quotes hold words together. */
export function aws(
  { apiUrl }: Pick<Berth, 'apiUrl'>,
  command: string,
  { accessKeyId, secretAccessKey } = TEST_KEY,
  service = 'rds',
): Promise<ProgramResult> {
  const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(
    ([, quoted, plain]) => quoted ?? plain ?? '',
  );
  const environment = {
    // What the machine's own way of starting it may need.
    HOME: process.env.HOME ?? '',
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_DEFAULT_REGION: REGION,
    AWS_CONFIG_FILE: '/dev/null',
    AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
    AWS_PAGER: '',
  };
  const args = ['--endpoint-url', apiUrl, '--output', 'json', service, ...words];
  return runProgram('aws', args, { port: 0, environment });
}
