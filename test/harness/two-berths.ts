/**
 * A proxy in front of a proxy: the inner one knows its users by IAM, as a database of AWS does, and the outer one logs in
 * to it with tokens of its own.
 */

import { fileKey, IAM_PRINCIPALS, POWERLESS_KEY } from './iam.ts';
import { type AccessKey, REGION } from './rds.ts';

/** What the outer one signs with; the inner one knows it as it knows any principal. */
export const ROLE_KEY: AccessKey = { accessKeyId: 'AKIAROLE', secretAccessKey: 'of the role' };

/** The file of the inner one has these beside its own. */
export const INNER_PRINCIPALS = [
  { ...IAM_PRINCIPALS[0], UserName: 'role', AccessKeys: [fileKey(ROLE_KEY)] },
  { UserName: 'nothing', AccessKeys: [fileKey(POWERLESS_KEY)] },
];

/** Who may log in to the outer one. */
export const OUTER_PRINCIPALS = IAM_PRINCIPALS;

/** For the process of the outer one: where AWS's chain of credentials looks first, and nothing behind that. */
export function credentialsOf({ accessKeyId, secretAccessKey }: AccessKey) {
  return {
    ...NO_CREDENTIALS,
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
  };
}

export const NO_CREDENTIALS = {
  AWS_ACCESS_KEY_ID: '',
  AWS_SECRET_ACCESS_KEY: '',
  AWS_SESSION_TOKEN: '',
  AWS_PROFILE: '',
  AWS_REGION: REGION,
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
  AWS_EC2_METADATA_DISABLED: 'true',
};

/** The file of the outer one, in front of the inner one at `port`. */
export function outerConfiguration(
  Engine: 'postgres' | 'mysql' | 'mariadb',
  port: number,
  {
    tls = 'require',
    proxy = {},
    file = {},
  }: { readonly tls?: string; readonly proxy?: object; readonly file?: object } = {},
) {
  return {
    Api: { Listen: '127.0.0.1:0', AllowAnonymous: true },
    Principals: OUTER_PRINCIPALS,
    DBInstances: [
      {
        DBInstanceIdentifier: 'inner',
        Engine,
        Endpoint: { Address: '127.0.0.1', Port: port },
        Tls: { Mode: tls },
      },
    ],
    DBProxies: [
      {
        DBProxyName: 'outer',
        EngineFamily: Engine === 'postgres' ? 'POSTGRESQL' : 'MYSQL',
        Listen: '127.0.0.1:0',
        DefaultAuthScheme: 'IAM_AUTH',
        TargetGroup: { DBInstanceIdentifiers: ['inner'] },
        ...proxy,
      },
    ],
    ...file,
  };
}
