/**
 * The certificates, keys and authorities that a configuration names: read from their files and looked
 * at, so that what is wrong with one is said with its place in the configuration before anything
 * listens, and not by a handshake later. Relative paths begin at the folder of the configuration file.
 */

import { createPrivateKey, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { Secret } from '../credential/secret.ts';
import { formatPath, type Path, type Problem } from './configuration-error.ts';
import type { YamlSource } from './yaml-source.ts';

/** A chain of certificates, or all authorities of a system, fit well within it. */
const FILE_BYTES_MAX = 4 * 1024 * 1024;
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;
const DAY_MS = 86_400_000;
/** Time enough for a person to renew a certificate. */
const EXPIRES_SOON_MS = 14 * DAY_MS;

export interface TlsFiles {
  readonly CertificateFile?: string | undefined;
  readonly PrivateKeyFile?: string | undefined;
  readonly CAFile?: string | undefined;
}

export interface TlsTexts {
  readonly certificate: string | undefined;
  readonly privateKey: Secret | undefined;
  readonly ca: string | undefined;
}

/** Reads the files of one configuration and collects what is wrong with them. */
export class TlsFileReader {
  readonly problems: Problem[] = [];
  /** Not wrong, but worth telling. */
  readonly warnings: string[] = [];
  private readonly folder: string;
  private readonly source: YamlSource;

  constructor(folder: string, source: YamlSource) {
    this.folder = folder;
    this.source = source;
  }

  /** `path` is where the mapping with the keys is; `caKey` what the authorities are called there. */
  read(files: TlsFiles, path: Path, caKey = 'CAFile'): TlsTexts {
    const certificate = this.certificates(files.CertificateFile, [...path, 'CertificateFile']);
    const privateKey = this.privateKey(files.PrivateKeyFile, [...path, 'PrivateKeyFile']);
    const ca = this.certificates(files.CAFile, [...path, caKey]);
    if (certificate !== undefined && privateKey !== undefined) {
      this.checkPair(certificate, privateKey, path);
    }
    return {
      certificate,
      privateKey: privateKey === undefined ? undefined : new Secret(privateKey),
      ca,
    };
  }

  private certificates(file: string | undefined, path: Path): string | undefined {
    const text = this.text(file, path);
    if (text === undefined) return undefined;
    const blocks = text.match(PEM_CERTIFICATE) ?? [];
    try {
      const parsed = blocks.map((block) => new X509Certificate(block));
      if (parsed.length === 0) throw new Error('none');
      for (const certificate of parsed) this.checkDates(certificate, path);
    } catch {
      return this.problem(path, 'must be a file with certificates in PEM', file);
    }
    return text;
  }

  private checkDates(certificate: X509Certificate, path: Path): void {
    const now = Date.now();
    const [begins, ends] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
    const name = `${formatPath(path)}: the certificate "${certificate.subject.replaceAll('\n', ', ')}"`;
    const date = (time: number) => new Date(time).toISOString().slice(0, 10);
    if (ends < now) this.warnings.push(`${name} expired on ${date(ends)}.`);
    else if (ends < now + EXPIRES_SOON_MS) this.warnings.push(`${name} expires on ${date(ends)}.`);
    else if (begins > now) this.warnings.push(`${name} is not valid before ${date(begins)}.`);
  }

  private privateKey(file: string | undefined, path: Path): string | undefined {
    const text = this.text(file, path);
    if (text === undefined) return undefined;
    try {
      createPrivateKey(text);
    } catch {
      return this.problem(
        path,
        'must be a file with a private key in PEM, without passphrase',
        file,
      );
    }
    return text;
  }

  private checkPair(certificate: string, privateKey: string, path: Path): void {
    const keyPath = [...path, 'PrivateKeyFile'];
    if (!new X509Certificate(certificate).checkPrivateKey(createPrivateKey(privateKey))) {
      this.problem(keyPath, 'must be the key of the certificate in CertificateFile');
      return;
    }
    try {
      createSecureContext({ cert: certificate, key: privateKey });
    } catch {
      this.problem(keyPath, 'and CertificateFile must be of a kind that TLS takes');
    }
  }

  /** What a file holds; undefined, and a problem, when that cannot be read. */
  text(file: string | undefined, path: Path): string | undefined {
    if (file === undefined) return undefined;
    try {
      const bytes = readFileSync(resolve(this.folder, file));
      if (bytes.length <= FILE_BYTES_MAX) return bytes.toString('utf8');
      return this.problem(path, `must be at most ${FILE_BYTES_MAX / 1024 / 1024} MiB`, file);
    } catch (error) {
      return this.problem(path, whyUnreadable(error), file);
    }
  }

  problem(path: Path, text: string, file?: string): undefined {
    const got = file === undefined ? '' : `, got ${JSON.stringify(file)}`;
    this.problems.push({ line: this.source.lineOf(path), path, text: `${text}${got}` });
    return undefined;
  }
}

function whyUnreadable(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'must be a file that is there';
  if (code === 'EACCES' || code === 'EPERM') return 'must be a file that may be read';
  return 'must be a file that can be read';
}
