/** Examples of configurations, with the certificates and keys that they name. */

import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestAuthority } from './certificates.ts';

const EXAMPLES = join(import.meta.dir, '..', '..', 'examples');

/** Copies an example into `folder` and makes the files that it names. Returns the copy's path. */
export async function copyExample(name: string, folder: string): Promise<string> {
  const copy = join(folder, name);
  copyFileSync(join(EXAMPLES, name), copy);
  writeFileSync(join(folder, 'secret-store.key'), `${randomBytes(32).toString('base64')}\n`);
  const tls = join(folder, 'tls');
  mkdirSync(tls);
  const authority = await TestAuthority.make();
  for (const file of ['clients.crt', 'database-ca.crt']) {
    writeFileSync(join(tls, file), authority.certificate);
  }
  for (const file of ['server', 'berth']) {
    const { certificate, privateKey } = await authority.issue();
    writeFileSync(join(tls, `${file}.crt`), certificate);
    writeFileSync(join(tls, `${file}.key`), privateKey);
  }
  return copy;
}
