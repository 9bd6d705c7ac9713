/**
 * The certificate that clients see when the configuration names none: made once, self-signed, and
 * kept in the state directory, so that who has been told to trust it can go on doing so. Made anew when
 * it is about to expire or does not have all the names any more.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Secret } from '../credential/secret.ts';
import type { Endpoint, Snapshot } from '../proxy/snapshot.ts';
import { keepFiles } from './kept-file.ts';
import { isHost } from './listen-address.ts';
import type { CertificateAndKey } from './make-certificate.ts';

/** Certificate and key in one file, so that they can be replaced together. */
const PAIR_FILE = 'self-signed.pem';
/** The certificate alone, for clients: `sslrootcert`. */
const CERTIFICATE_FILE = 'self-signed.crt';
const COMMON_NAME = 'Berth (self-signed)';
const DAY_MS = 86_400_000;
const VALID_MS = 730 * DAY_MS;
/** Clocks differ. */
const BACKDATED_MS = DAY_MS;
const RENEWED_BEFORE_MS = 30 * DAY_MS;
const ALWAYS_NAMED = ['localhost', '127.0.0.1', '::1'];
const WILDCARDS = ['0.0.0.0', '::'];

export interface OwnCertificate {
  readonly certificate: string;
  readonly privateKey: Secret;
  /** Why it could not be kept; it works all the same, until the next start. */
  readonly warning: string | undefined;
}

/** What a certificate for these proxies has to name. */
export function certificateNames(proxies: Snapshot['DBProxies']): readonly string[] {
  const hosts = proxies.flatMap(({ Endpoints }) => Endpoints.flatMap(hostOf));
  const names = [...ALWAYS_NAMED, hostname(), ...hosts].map((name) => name.toLowerCase());
  return [...new Set(names)].filter((name) => !WILDCARDS.includes(name) && isNameable(name));
}

function hostOf({ Listen }: Endpoint): readonly string[] {
  return 'socketPath' in Listen ? [] : [Listen.host];
}

function isNameable(name: string): boolean {
  return isIP(name) !== 0 || (isHost(name) && !name.includes('_'));
}

/** The one that is kept in `directory`, or a new one. `now` is milliseconds since 1970. */
export async function ownCertificate(
  directory: string,
  names: readonly string[],
  now: number,
): Promise<OwnCertificate> {
  const kept = readPair(join(directory, PAIR_FILE));
  if (kept !== undefined && isGood(kept, names, now)) return result(kept, undefined);
  const { makeCertificate } = await import('./make-certificate.ts');
  const made = await makeCertificate({
    commonName: COMMON_NAME,
    names,
    validFrom: new Date(now - BACKDATED_MS),
    validTo: new Date(now + VALID_MS),
  });
  return result(made, keep(directory, made));
}

function result(pair: CertificateAndKey, warning: string | undefined): OwnCertificate {
  return { certificate: pair.certificate, privateKey: new Secret(pair.privateKey), warning };
}

function readPair(file: string): CertificateAndKey | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    const [certificate, privateKey] = text.match(/-----BEGIN [\s\S]+?-----END .+?-----\n/g) ?? [];
    return certificate && privateKey ? { certificate, privateKey } : undefined;
  } catch {
    // There is none, or it cannot be read: either way another one is made, and keeping it tells.
    return undefined;
  }
}

function isGood(
  { certificate, privateKey }: CertificateAndKey,
  names: readonly string[],
  now: number,
): boolean {
  try {
    const parsed = new X509Certificate(certificate);
    const isNamed = (name: string) =>
      (isIP(name) === 0 ? parsed.checkHost(name) : parsed.checkIP(name)) !== undefined;
    return (
      parsed.checkPrivateKey(createPrivateKey(privateKey)) &&
      Date.parse(parsed.validTo) > now + RENEWED_BEFORE_MS &&
      names.every(isNamed)
    );
  } catch {
    return false;
  }
}

/** Returns what went wrong. */
function keep(
  directory: string,
  { certificate, privateKey }: CertificateAndKey,
): string | undefined {
  const failure = keepFiles(directory, {
    [PAIR_FILE]: certificate + privateKey,
    [CERTIFICATE_FILE]: certificate,
  });
  if (failure === undefined) return undefined;
  return `StateDirectory: the self-signed certificate cannot be kept in ${JSON.stringify(directory)} (${failure}), so clients will see another one after the next start.`;
}
