/** The certificate that all subjects show their clients in a run with `--tls`: ECDSA P-256, as Berth makes its own. */

import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeCertificate } from '../src/control/make-certificate.ts';

const DAY_MS = 86_400_000;

/** Paths. */
export interface BenchTls {
  readonly certificateFile: string;
  readonly privateKeyFile: string;
}

export async function makeBenchTls(directory: string): Promise<BenchTls> {
  const now = Date.now();
  const { certificate, privateKey } = await makeCertificate({
    commonName: 'bench',
    names: ['localhost', '127.0.0.1'],
    validFrom: new Date(now - DAY_MS),
    validTo: new Date(now + DAY_MS),
  });
  const certificateFile = join(directory, 'bench.crt');
  const privateKeyFile = join(directory, 'bench.key');
  writeFileSync(certificateFile, certificate);
  writeFileSync(privateKeyFile, privateKey);
  // PgBouncer runs as another account.
  chmodSync(privateKeyFile, 0o644);
  return { certificateFile, privateKeyFile };
}
