/**
 * `berth token`: prints an IAM token for an endpoint of a proxy, as `aws rds generate-db-auth-token` does, for machines
 * that have no `aws`. The credentials are those that AWS's tools would find: the environment, the shared files,
 * and so on.
 */

import { signToken } from '../control/iam/sign-token.ts';
import { EXIT, type Output, type TokenOptions } from './command-line.ts';

export async function token(options: TokenOptions, output: Output): Promise<number> {
  const { host: hostname, port, user: username, region } = options;
  try {
    output.out(`${await signToken({ hostname, port, username, region })}\n`);
    return EXIT.ok;
  } catch (error) {
    output.err(`berth: no token: ${error instanceof Error ? error.message : String(error)}\n`);
    return EXIT.failed;
  }
}
