/**
 * Makes a self-signed certificate. Loaded only when one has to be made: the libraries for it take a
 * good part of a second and some memory.
 */

import 'reflect-metadata';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
const SERIAL_BYTES = 16;

export interface CertificateRequest {
  readonly commonName: string;
  /** Host names and IP addresses. */
  readonly names: readonly string[];
  readonly validFrom: Date;
  readonly validTo: Date;
}

/** PEM texts. */
export interface CertificateAndKey {
  readonly certificate: string;
  readonly privateKey: string;
}

/**
 * No key usage is named: a client that is told to trust this certificate takes it as an authority for
 * itself, and some refuse one that is limited to signatures.
 */
export async function makeCertificate(request: CertificateRequest): Promise<CertificateAndKey> {
  const keys = await crypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: serialNumber(),
    name: [{ CN: [request.commonName] }],
    notBefore: request.validFrom,
    notAfter: request.validTo,
    signingAlgorithm: ALGORITHM,
    keys,
    extensions: [
      new SubjectAlternativeNameExtension(
        request.names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
      ),
      new BasicConstraintsExtension(false, undefined, true),
      new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
      await SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
  const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
  return {
    certificate: `${certificate.toString('pem')}\n`,
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

/** Positive, and never the same twice (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}
