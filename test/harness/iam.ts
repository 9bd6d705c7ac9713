/** Principals for tests, and their IAM tokens as AWS's own signer makes them. */

import { Signer } from '@aws-sdk/rds-signer';
import { type AccessKey, REGION } from './rds.ts';

export const ACCOUNT = '000000000000';

/** May log in as anybody. */
export const IAM_KEY: AccessKey = { accessKeyId: 'AKIACONNECT', secretAccessKey: 'of connect' };
/** May do nothing. */
export const POWERLESS_KEY: AccessKey = {
  accessKeyId: 'AKIANOTHING',
  secretAccessKey: 'of nothing',
};

export const IAM_PRINCIPALS = [
  {
    UserName: 'connect',
    AccessKeys: [fileKey(IAM_KEY)],
    Policies: [
      {
        PolicyName: 'connect',
        PolicyDocument: {
          Version: '2012-10-17',
          Statement: [
            {
              Effect: 'Allow',
              Action: 'rds-db:connect',
              Resource: `arn:aws:rds-db:${REGION}:${ACCOUNT}:dbuser:prx-*/*`,
            },
          ],
        },
      },
    ],
  },
  { UserName: 'nothing', AccessKeys: [fileKey(POWERLESS_KEY)] },
];

export function fileKey({ accessKeyId, secretAccessKey }: AccessKey) {
  return { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey };
}

/** What must not be told of a token. */
export function signatureOf(token: string): string {
  const [, signature] = /X-Amz-Signature=([0-9a-f]{64})/.exec(token) ?? [];
  if (signature === undefined) throw new Error('the token has no signature');
  return signature;
}

export interface TokenOptions {
  readonly port: number;
  readonly host?: string;
  readonly user?: string;
  readonly region?: string;
  readonly key?: AccessKey;
  /** Signed by a clock that is ahead by so much. */
  readonly aheadMs?: number;
}

export function iamToken({ port, host = '127.0.0.1', user = 'app', ...more }: TokenOptions) {
  const { key = IAM_KEY, region = REGION } = more;
  const signer = new Signer({ hostname: host, port, username: user, region, credentials: key });
  return signer.getAuthToken();
}
