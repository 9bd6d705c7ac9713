/**
 * TLS on a stream that is open already: what a handshake needs, made once and used for many, and what
 * came of one. `stream.ts` runs the handshakes; what an answer means is for the engines to decide.
 *
 * A new certificate is a new `AcceptTls`; streams that began with the one before keep it.
 */

import { constants, createHash, X509Certificate } from 'node:crypto';
import { checkServerIdentity, createSecureContext, type PeerCertificate } from 'node:tls';
import type { Socket, TLSOptions } from 'bun';

export type TlsVersion = 'TLSv1' | 'TLSv1.1' | 'TLSv1.2' | 'TLSv1.3';

/**
 * The largest record we send. Bun's default is TLS's limit of 16 KiB, but libpq, used without
 * blocking, may wait for ever for the second half of a record that is larger than its buffer of 8 KiB.
 */
export const RECORD_BYTES_MAX = 8192;

/** Forward secrecy and authenticated encryption only; those of TLS 1.3 are always on. */
const CIPHERS = [
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
].join(':');

/** What came of a handshake. */
export type TlsOutcome =
  | {
      readonly isOk: true;
      /** The protocol that both sides agreed on by name (ALPN), if any. */
      readonly protocol: string | undefined;
      /** The other side has shown a certificate that we trust. */
      readonly isPeerVerified: boolean;
      /** What names the channel in SCRAM-SHA-256-PLUS; undefined when the certificate's kind has none. */
      readonly serverEndPoint: Buffer | undefined;
    }
  | {
      readonly isOk: false;
      /**
       * `gone`: the other side has left; `failed`: no agreement; `untrusted`: the channel is there, but
       * the other side's certificate is not good enough.
       */
      readonly why: 'gone' | 'failed' | 'untrusted';
      /** For the log. */
      readonly detail: string;
      /** What came instead of a handshake is no TLS at all. */
      readonly isPlainText: boolean;
    };

/** One side of handshakes to come. */
export interface TlsSide {
  readonly isServer: boolean;
  readonly options: TLSOptions;
  /** `error` as Bun's `handshake` gave it. */
  judge(socket: Socket<unknown>, error: Error | null): TlsOutcome;
}

export interface AcceptTlsOptions {
  /** PEM; may have the certificates between it and its root behind it. */
  readonly certificate: string;
  readonly privateKey: string;
  /** PEM: who may vouch for client certificates. Without it none is asked for. */
  readonly clientCa?: string | undefined;
  readonly minVersion?: TlsVersion;
  /** Protocols that a client may name (ALPN). It may name none; one that is not here fails the handshake. */
  readonly protocols: readonly string[];
}

/** For connections that come in. */
export class AcceptTls implements TlsSide {
  readonly isServer = true;
  readonly options: TLSOptions;
  private readonly asksForCertificate: boolean;
  private readonly serverEndPoint: Buffer | undefined;

  /** Throws when the key is not that of the certificate. */
  constructor(options: AcceptTlsOptions) {
    const { certificate, privateKey, clientCa, minVersion = 'TLSv1.2' } = options;
    this.asksForCertificate = clientCa !== undefined;
    this.serverEndPoint = serverEndPointOf(new X509Certificate(certificate));
    const context = createSecureContext({
      cert: certificate,
      key: privateKey,
      ciphers: CIPHERS,
      minVersion,
      // Without any, every handshake looks through the system's authorities for who signed ours.
      ca: clientCa ?? certificate,
      // A resumed session would not show its certificate again.
      ...(clientCa === undefined ? {} : { secureOptions: constants.SSL_OP_NO_TICKET }),
    });
    this.options = optionsWith({
      secureContext: context.context,
      ALPNProtocols: protocolList(options.protocols),
      requestCert: this.asksForCertificate,
      // A client without one is let in, and judged by what the proxy asks of it.
      rejectUnauthorized: false,
    });
  }

  judge(socket: Socket<unknown>, error: Error | null): TlsOutcome {
    if (!isEstablished(error)) return failed(error);
    // Bun finds fault also with a certificate that is not there. To ask for it builds a large object.
    const isShown = this.asksForCertificate && peerCertificateOf(socket) !== undefined;
    if (isShown && error !== null) return untrusted(describe(error));
    return {
      isOk: true,
      protocol: socket.alpnProtocol || undefined,
      isPeerVerified: isShown,
      serverEndPoint: this.serverEndPoint,
    };
  }
}

export interface ConnectTlsOptions {
  /** `chain`: the certificate must come from `ca`; `name`: and be for `host`. */
  readonly verify: 'nothing' | 'chain' | 'name';
  /** The host name or IP address that the certificate must be for. */
  readonly host: string;
  /** PEM. Default: the public authorities. */
  readonly ca?: string | undefined;
  /** PEM, to show when asked. */
  readonly certificate?: string | undefined;
  readonly privateKey?: string | undefined;
  readonly minVersion?: TlsVersion;
  readonly protocols: readonly string[];
}

/** Bun's own check of the name, which comes after the chain was found good; ours decides. */
const NAME_MISMATCH = 'ERR_TLS_CERT_ALTNAME_INVALID';

/** For connections that go out. */
export class ConnectTls implements TlsSide {
  readonly isServer = false;
  readonly options: TLSOptions;
  private readonly verify: ConnectTlsOptions['verify'];
  private readonly host: string;

  /** Throws when the key is not that of the certificate. */
  constructor(options: ConnectTlsOptions) {
    const { ca, certificate: cert, privateKey: key, minVersion = 'TLSv1.2', host } = options;
    this.verify = options.verify;
    this.host = host;
    const context = createSecureContext({
      minVersion,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
    });
    this.options = optionsWith({
      secureContext: context.context,
      ALPNProtocols: protocolList(options.protocols),
      rejectUnauthorized: false,
      // An IP address is no server name (RFC 6066 section 3).
      ...(isAddress(host) ? {} : { serverName: host }),
    });
  }

  judge(socket: Socket<unknown>, error: Error | null): TlsOutcome {
    if (!isEstablished(error)) return failed(error);
    const isNameWrong = codeOf(error) === NAME_MISMATCH;
    const certificate = peerCertificateOf(socket);
    if (certificate === undefined) return untrusted('the other side showed no certificate');
    if (this.verify !== 'nothing' && error !== null && !isNameWrong) {
      return untrusted(describe(error));
    }
    if (this.verify === 'name') {
      const mismatch = checkServerIdentity(this.host, certificate);
      if (mismatch !== undefined) return untrusted(mismatch.message);
    }
    return {
      isOk: true,
      protocol: socket.alpnProtocol || undefined,
      isPeerVerified: this.verify !== 'nothing',
      serverEndPoint: serverEndPointOf(new X509Certificate(certificate.raw)),
    };
  }
}

/**
 * Whether there is a channel. What else may be wrong is the certificate, by a code of its own (Bun's
 * flag for success is sometimes false then and sometimes true).
 */
function isEstablished(error: Error | null): boolean {
  return error === null || !['', 'EPROTO', 'ECONNRESET'].includes(codeOf(error));
}

/** How BoringSSL calls bytes that do not begin like a record of TLS. */
const NO_TLS_RECORD: readonly string[] = ['wrong version number', 'unexpected record'];

function failed(error: Error | null): TlsOutcome {
  const isGone = codeOf(error) === 'ECONNRESET';
  const detail = describe(error);
  const isPlainText = NO_TLS_RECORD.includes(detail);
  return { isOk: false, why: isGone ? 'gone' : 'failed', detail, isPlainText };
}

function untrusted(detail: string): TlsOutcome {
  return { isOk: false, why: 'untrusted', detail, isPlainText: false };
}

/** Bun takes the context of `node:tls` and protocols as they are on the wire; its types do not say so. */
function optionsWith(options: Readonly<Record<string, unknown>>): TLSOptions {
  return options as TLSOptions;
}

/** RFC 7301 section 3.1. */
function protocolList(protocols: readonly string[]): Buffer {
  return Buffer.concat(protocols.map((name) => Buffer.from([name.length, ...Buffer.from(name)])));
}

function peerCertificateOf(socket: Socket<unknown>): PeerCertificate | undefined {
  const certificate: unknown = socket.getPeerCertificate();
  const isThere = typeof certificate === 'object' && certificate !== null && 'raw' in certificate;
  return isThere ? (certificate as PeerCertificate) : undefined;
}

function isAddress(host: string): boolean {
  return host.includes(':') || /^[\d.]+$/.test(host);
}

/**
 * `tls-server-end-point` of RFC 5929 section 4.1: the certificate, hashed as its signature is, but
 * never weaker than SHA-256. Signatures that have no hash of their own (Ed25519) have no such name.
 */
function serverEndPointOf(certificate: X509Certificate): Buffer | undefined {
  const algorithm = certificate.signatureAlgorithm?.toLowerCase() ?? '';
  const hash = /sha-?(1|224|256|384|512)(?!\d)|md5/.exec(algorithm);
  if (hash === null) return undefined;
  const bits = hash[1] === undefined || hash[1] === '1' ? '256' : hash[1];
  return createHash(`sha${bits}`).update(certificate.raw).digest();
}

function codeOf(error: Error | null): string {
  return error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** `error:10000133:SSL routines:OPENSSL_internal:NO_APPLICATION_PROTOCOL` by its last part. */
function describe(error: Error | null): string {
  if (error === null) return 'the handshake failed';
  const [, , , , reason] = error.message.split(':');
  const isLibrary = error.message.startsWith('error:') && reason !== undefined;
  return isLibrary ? reason.toLowerCase().replaceAll('_', ' ') : error.message;
}
