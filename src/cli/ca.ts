/** `berth ca`: the certificate of the local authority, for clients to trust. */

import { Authority } from '../control/certificate/authority.ts';
import { loadAuthorityPlace } from '../control/config-file.ts';
import { ConfigurationError } from '../control/configuration-error.ts';
import type { Environment } from '../control/environment.ts';
import { USUAL_STATE_DIRECTORY } from '../control/schema.ts';
import { type CaOptions, EXIT, type Output } from './command-line.ts';

export interface CaParts {
  readonly environment: Environment;
  readonly output: Output;
}

/** With a configuration file one is made when there is none yet, so that clients can be ready before the first start. */
export async function ca({ config }: CaOptions, { environment, output }: CaParts): Promise<number> {
  let directory: string | undefined = USUAL_STATE_DIRECTORY;
  try {
    if (config !== undefined) directory = await loadAuthorityPlace(config, environment);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    output.err(`${error.message}\n`);
    return EXIT.badUsage;
  }
  if (directory === undefined) {
    output.err(`berth: ${config} names a certificate in Tls, so there is no local authority\n`);
    return EXIT.failed;
  }
  const isThere = config !== undefined || Authority.isKeptIn(directory);
  if (!isThere) {
    const where = JSON.stringify(directory);
    output.err(
      `berth: there is no local authority in ${where}; name the configuration: --config\n`,
    );
    return EXIT.failed;
  }
  const { certificate, warning } = Authority.keptIn(directory, Date.now());
  if (warning !== undefined) output.err(`Warning: ${warning}\n`);
  output.out(certificate);
  return EXIT.ok;
}
