/**
 * IAM tokens by AWS's own signer, with the credentials that AWS's tools would find: the environment, the shared
 * files, single sign-on, the roles of containers and machines. The signer is loaded when it is first used.
 */

import type { TokenSigner } from '../../credential/database-tokens.ts';

export const signToken: TokenSigner = async ({ hostname, port, username, region }) => {
  const { Signer } = await import('@aws-sdk/rds-signer');
  return await new Signer({ hostname, port, username, region }).getAuthToken();
};
