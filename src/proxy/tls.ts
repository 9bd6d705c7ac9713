/**
 * From desired state to what the engines take for TLS. Contexts cost something to make and carry what
 * clients resume their sessions with, so each is kept for as long as what it was made from.
 */

import { isDeepStrictEqual } from 'node:util';
import type { DatabaseTls, ClientTls as EngineClientTls } from '../engine/contract.ts';
import { AcceptTls, ConnectTls } from '../net/tls.ts';
import type { ClientTls, DBInstance, EngineFamily } from './snapshot.ts';

/** What a client may name with ALPN, and what we name to a database. */
const PROTOCOLS: Readonly<Record<EngineFamily, readonly string[]>> = {
  // https://www.iana.org/assignments/tls-extensiontype-values
  POSTGRESQL: ['postgresql'],
  // MySQL has no name there, and its clients name none.
  MYSQL: [],
};

export type AcceptedTls = Pick<EngineClientTls, 'accept' | 'isCertificateRequired'>;

/**
 * What clients get, each made once for all proxies that have the same certificate: who resumes a session
 * may do so at any of them.
 */
export class AcceptedTlsCache {
  private kept = new Map<string, AcceptedTls>();
  private used = new Map<string, AcceptedTls>();

  /** Throws when the key is not that of the certificate. */
  get(tls: ClientTls | undefined, family: EngineFamily): AcceptedTls {
    const key = JSON.stringify([family, revealed(tls)]);
    const accepted = this.used.get(key) ?? this.kept.get(key) ?? acceptedTlsOf(tls, family);
    this.used.set(key, accepted);
    return accepted;
  }

  /** Forgets what nobody has asked for since the last call; who has it keeps it. */
  sweep(): void {
    this.kept = this.used;
    this.used = new Map();
  }
}

function acceptedTlsOf(tls: ClientTls | undefined, family: EngineFamily): AcceptedTls {
  if (tls === undefined) return { accept: undefined, isCertificateRequired: false };
  const accept = new AcceptTls({
    certificate: tls.Certificate,
    privateKey: tls.PrivateKey.reveal(),
    clientCa: tls.ClientCA,
    minVersion: tls.MinProtocolVersion,
    protocols: PROTOCOLS[family],
  });
  return { accept, isCertificateRequired: tls.ClientCertificate === 'REQUIRED' };
}

/** Throws when the key is not that of the certificate. */
export function databaseTls({ Endpoint, Engine, Tls }: DBInstance): DatabaseTls {
  if (Tls.Mode === 'disable') return { connect: undefined, isRequired: false };
  const connect = new ConnectTls({
    verify: verificationOf(Tls),
    host: Endpoint.Address,
    ca: Tls.CA,
    certificate: Tls.Certificate,
    privateKey: Tls.PrivateKey?.reveal(),
    minVersion: Tls.MinProtocolVersion,
    protocols: PROTOCOLS[Engine === 'postgres' ? 'POSTGRESQL' : 'MYSQL'],
  });
  return { connect, isRequired: Tls.Mode !== 'prefer' };
}

function verificationOf({ Mode, CA }: DBInstance['Tls']): 'nothing' | 'chain' | 'name' {
  if (Mode === 'verify-full') return 'name';
  if (Mode === 'verify-ca') return 'chain';
  // As in libpq: who names an authority wants it to be asked.
  return Mode === 'require' && CA !== undefined ? 'chain' : 'nothing';
}

/** Whether both make the same context; keys included, which do not show when printed. */
export function isSameTls(a: DBInstance['Tls'], b: DBInstance['Tls']): boolean {
  return isDeepStrictEqual(revealed(a), revealed(b));
}

function revealed(tls: ClientTls | DBInstance['Tls'] | undefined): unknown {
  return { ...tls, PrivateKey: tls?.PrivateKey?.reveal() };
}
