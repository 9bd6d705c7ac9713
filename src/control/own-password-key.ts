/**
 * The RSA key that MySQL clients without TLS encrypt their passwords with (`caching_sha2_password`): made
 * once and kept in the state directory, because clients may be given the public half to trust, which is
 * kept beside it. It proves nothing by itself, so it does not expire.
 */

import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { Secret } from '../credential/secret.ts';
import { keepFiles } from './kept-file.ts';

const PRIVATE_KEY_FILE = 'password-key.pem';
/** For clients: `--server-public-key-path`. */
const PUBLIC_KEY_FILE = 'password-key.pub.pem';
/** What MySQL makes for itself. */
const MODULUS_BITS = 2048;

export interface OwnPasswordKey {
  readonly privateKey: Secret;
  /** Why it could not be kept; it works all the same, until the next start. */
  readonly warning: string | undefined;
}

/** The one that is kept in `directory`, or a new one. */
export async function ownPasswordKey(directory: string): Promise<OwnPasswordKey> {
  const kept = read(join(directory, PRIVATE_KEY_FILE));
  if (kept !== undefined) return { privateKey: new Secret(kept), warning: undefined };
  const { privateKey, publicKey } = await promisify(generateKeyPair)('rsa', {
    modulusLength: MODULUS_BITS,
  });
  const pem = String(privateKey.export({ type: 'pkcs8', format: 'pem' }));
  const failure = keepFiles(directory, {
    [PRIVATE_KEY_FILE]: pem,
    [PUBLIC_KEY_FILE]: String(publicKey.export({ type: 'spki', format: 'pem' })),
  });
  const warning = `StateDirectory: the key for passwords cannot be kept in ${JSON.stringify(directory)} (${failure}), so clients will see another one after the next start.`;
  return { privateKey: new Secret(pem), warning: failure === undefined ? undefined : warning };
}

/** Undefined when there is none, or none that can be used: then another one is made. */
function read(file: string): string | undefined {
  try {
    const pem = readFileSync(file, 'utf8');
    const isRsa = createPublicKey(createPrivateKey(pem)).asymmetricKeyType === 'rsa';
    return isRsa ? pem : undefined;
  } catch {
    return undefined;
  }
}
