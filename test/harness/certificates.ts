/**
 * Certificates for tests: an authority, and certificates that it signs, good and bad ones. Made when
 * they are needed; nothing is kept.
 */

import 'reflect-metadata';
import { createPrivateKey, randomBytes } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from '@peculiar/x509';
/** PEM texts. */
export interface CertificateAndKey {
  readonly certificate: string;
  readonly privateKey: string;
}

const EC = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** How an authority signs. */
const ALGORITHMS = {
  'ECDSA with SHA-256': EC,
  'ECDSA with SHA-384': { ...EC, namedCurve: 'P-384', hash: 'SHA-384' },
  'RSA with SHA-512': {
    name: 'RSASSA-PKCS1-v1_5',
    modulusLength: 2048,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: 'SHA-512',
  },
} as const;
export type SigningAlgorithm = keyof typeof ALGORITHMS;
const DAY_MS = 86_400_000;
/** Long enough that nobody warns of its end. */
const USUAL_DAYS = [-1, 90] as const;

export interface TestCertificateOptions {
  /** Host names and IP addresses. */
  readonly names?: readonly string[];
  readonly commonName?: string;
  /** Days from now; default: from yesterday on, for three months. */
  readonly validDays?: readonly [from: number, to: number];
}

export class TestAuthority {
  /** PEM. */
  readonly certificate: string;
  readonly #parsed: X509Certificate;
  readonly #keys: CryptoKeyPair;
  readonly #algorithm: SigningAlgorithm;

  private constructor(parsed: X509Certificate, keys: CryptoKeyPair, algorithm: SigningAlgorithm) {
    this.#algorithm = algorithm;
    this.#parsed = parsed;
    this.#keys = keys;
    this.certificate = pem(parsed);
  }

  static async make(
    commonName = 'Test authority',
    algorithm: SigningAlgorithm = 'ECDSA with SHA-256',
  ): Promise<TestAuthority> {
    const signingAlgorithm = ALGORITHMS[algorithm];
    const keys = await crypto.subtle.generateKey(signingAlgorithm, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.createSelfSigned({
      ...validity(USUAL_DAYS),
      serialNumber: serialNumber(),
      name: [{ CN: [commonName] }],
      signingAlgorithm,
      keys,
      extensions: [
        new BasicConstraintsExtension(true, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
        await SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new TestAuthority(certificate, keys, algorithm);
  }

  async issue(options: TestCertificateOptions = {}): Promise<CertificateAndKey> {
    const {
      names = ['localhost', '127.0.0.1'],
      commonName = 'test',
      validDays = USUAL_DAYS,
    } = options;
    const keys = await crypto.subtle.generateKey(EC, true, ['sign', 'verify']);
    const certificate = await X509CertificateGenerator.create({
      ...validity(validDays),
      serialNumber: serialNumber(),
      subject: [{ CN: [commonName] }],
      issuer: this.#parsed.subject,
      publicKey: keys.publicKey,
      signingKey: this.#keys.privateKey,
      signingAlgorithm: ALGORITHMS[this.#algorithm],
      extensions: [
        new SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
        new BasicConstraintsExtension(false, undefined, true),
      ],
    });
    const pkcs8 = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey));
    const privateKey = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' });
    return {
      certificate: pem(certificate),
      privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    };
  }
}

function validity([from, to]: readonly [number, number]) {
  const now = Date.now();
  return { notBefore: new Date(now + from * DAY_MS), notAfter: new Date(now + to * DAY_MS) };
}

function serialNumber(): string {
  return `40${randomBytes(15).toString('hex')}`;
}

function pem(certificate: X509Certificate): string {
  return `${certificate.toString('pem')}\n`;
}
