/**
 * The authority of this installation: made at the first start and kept in the state directory, so that
 * clients which have been told to trust it can verify every proxy, whatever its names and addresses are
 * tomorrow. What it signs is made when it is needed and is never kept.
 */

import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  X509Certificate,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '../../credential/secret.ts';
import { keepFiles } from '../kept-file.ts';
import { type AuthorityKey, makeAuthorityCertificate, makeServerCertificate } from './x509.ts';

/** Certificate and key in one file, so that they can be replaced together. */
const PAIR_FILE = 'ca.pem';
/** The certificate alone, for clients: `sslrootcert`. */
const CERTIFICATE_FILE = 'ca.crt';
const DAY_MS = 86_400_000;
const VALID_MS = 3_650 * DAY_MS;
/** Time enough to give all clients the new one; until then both are good. */
const RENEWED_BEFORE_MS = 365 * DAY_MS;
/** Clocks differ. */
const BACKDATED_MS = DAY_MS;
const SERVER_VALID_MS = 90 * DAY_MS;
/** How long before its end a certificate of a proxy is replaced. */
const SERVER_RENEWED_BEFORE_MS = 30 * DAY_MS;
const CURVE = 'prime256v1';

/** PEM texts. */
interface IssuedCertificate {
  readonly certificate: string;
  readonly privateKey: Secret;
}

interface Issued extends IssuedCertificate {
  readonly key: string;
  readonly renewAt: number;
}

export class Authority {
  /** PEM; what clients trust. */
  readonly certificate: string;
  /** What a person should know of it; it works all the same. */
  readonly warning: string | undefined;
  private readonly key: AuthorityKey;
  /** By whom it was issued for. */
  private readonly issued = new Map<string, Issued>();

  private readonly directory: string;

  private constructor(pair: AuthorityPair, directory: string, warning: string | undefined) {
    this.directory = directory;
    this.certificate = pair.certificate;
    this.key = pair.key;
    this.warning = warning;
  }

  /** One that is never kept: for a run of the benchmark or of a test. */
  static temporary(now: number): Authority {
    return new Authority(makePair(newKey(), now), '', undefined);
  }

  static isKeptIn(directory: string): boolean {
    return readPair(join(directory, PAIR_FILE)) !== undefined;
  }

  /** The one that is kept in `directory`, renewed if it is time, or a new one. `now` is milliseconds since 1970. */
  static keptIn(directory: string, now: number): Authority {
    const kept = readPair(join(directory, PAIR_FILE));
    if (kept !== undefined && isFresh(kept, now)) return new Authority(kept, directory, undefined);
    const made = makePair(kept?.key ?? newKey(), now);
    const privateKey = made.key.privateKey.export({ type: 'pkcs8', format: 'pem' });
    const failure = keepFiles(directory, {
      [PAIR_FILE]: made.certificate + String(privateKey),
      [CERTIFICATE_FILE]: made.certificate,
    });
    if (failure !== undefined) return new Authority(made, directory, notKept(directory, failure));
    return new Authority(made, directory, kept === undefined ? undefined : renewed(kept));
  }

  /** Whether it, or something that it has issued, is to be renewed. */
  hasToRenew(now: number): boolean {
    return !isFresh(this, now) || [...this.issued.values()].some(({ renewAt }) => now >= renewAt);
  }

  /** Whether reading it again from `directory` would change nothing. */
  isGoodFor(directory: string, now: number): boolean {
    return directory === this.directory && isFresh(this, now);
  }

  /**
   * A certificate for the server called `subject`, which proves all of `names`. The same one again, as
   * long as neither the names change nor its end comes near.
   */
  issue(subject: string, names: readonly string[], now: number): IssuedCertificate {
    const key = names.join(' ');
    const before = this.issued.get(subject);
    if (before !== undefined && before.key === key && now < before.renewAt) return before;
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: CURVE });
    const validTo = Math.min(now + SERVER_VALID_MS, Date.parse(this.parsed.validTo));
    const certificate = makeServerCertificate(this.key, {
      commonName: subject,
      names,
      publicKey,
      validFrom: now - BACKDATED_MS,
      validTo,
    });
    const issued = {
      certificate,
      privateKey: new Secret(String(privateKey.export({ type: 'pkcs8', format: 'pem' }))),
      key,
      renewAt: validTo - SERVER_RENEWED_BEFORE_MS,
    };
    this.issued.set(subject, issued);
    return issued;
  }

  /** Forgets what was issued for others than `subjects`. */
  keepOnly(subjects: ReadonlySet<string>): void {
    for (const subject of this.issued.keys()) {
      if (!subjects.has(subject)) this.issued.delete(subject);
    }
  }

  private get parsed(): X509Certificate {
    return new X509Certificate(this.certificate);
  }
}

interface AuthorityPair {
  readonly certificate: string;
  readonly key: AuthorityKey;
}

function newKey(): AuthorityKey {
  const keys = generateKeyPairSync('ec', { namedCurve: CURVE });
  // So that a client which trusts two of them knows which one to look at.
  const id = new Secret(keys.publicKey.export({ type: 'spki', format: 'pem' }).toString());
  return { commonName: `Berth local CA ${shortId(id)}`, ...keys };
}

function shortId(publicKey: Secret): string {
  return Bun.hash.crc32(publicKey.reveal()).toString(16).padStart(8, '0');
}

function makePair(key: AuthorityKey, now: number): AuthorityPair {
  const validity = { validFrom: now - BACKDATED_MS, validTo: now + VALID_MS };
  return { certificate: makeAuthorityCertificate(key, validity), key };
}

function readPair(file: string): AuthorityPair | undefined {
  try {
    const text = readFileSync(file, 'utf8');
    const [certificate = '', pem = ''] =
      text.match(/-----BEGIN [\s\S]+?-----END .+?-----\n/g) ?? [];
    const parsed = new X509Certificate(certificate);
    const privateKey = createPrivateKey(pem);
    if (!parsed.checkPrivateKey(privateKey) || !parsed.ca) return undefined;
    const commonName = parsed.subject.replace(/^CN=/, '');
    return { certificate, key: { commonName, privateKey, publicKey: publicOf(privateKey) } };
  } catch {
    // There is none, or it cannot be read: either way another one is made, and keeping it tells.
    return undefined;
  }
}

function publicOf(privateKey: KeyObject): KeyObject {
  return createPublicKey(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
}

function isFresh({ certificate }: Pick<AuthorityPair, 'certificate'>, now: number): boolean {
  return Date.parse(new X509Certificate(certificate).validTo) > now + RENEWED_BEFORE_MS;
}

function notKept(directory: string, failure: string): string {
  return `StateDirectory: the local authority cannot be kept in ${JSON.stringify(directory)} (${failure}), so clients will see certificates of another one after the next start.`;
}

function renewed({ certificate }: AuthorityPair): string {
  const { validTo } = new X509Certificate(certificate);
  const date = new Date(validTo).toISOString().slice(0, 10);
  return `StateDirectory: the certificate of the local authority was renewed, with the same key. Give clients the new one (berth ca) before ${date}, when the one that they have ends.`;
}
