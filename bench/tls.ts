/** The certificate that all subjects show their clients in a run with `--tls`: ECDSA P-256, as Berth makes its own. */

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Authority } from '../src/control/certificate/authority.ts';

/** Paths. */
export interface BenchTls {
  readonly certificateFile: string;
  readonly privateKeyFile: string;
}

export function makeBenchTls(directory: string): BenchTls {
  const now = Date.now();
  const authority = Authority.temporary(now);
  const { certificate, privateKey } = authority.issue('bench', ['localhost', '127.0.0.1'], now);
  const certificateFile = join(directory, 'bench.crt');
  const privateKeyFile = join(directory, 'bench.key');
  writeFileSync(certificateFile, certificate);
  writeFileSync(privateKeyFile, privateKey.reveal());
  // PgBouncer runs as another account.
  chmodSync(privateKeyFile, 0o644);
  return { certificateFile, privateKeyFile };
}
