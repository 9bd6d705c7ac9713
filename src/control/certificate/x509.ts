/**
 * Makes X.509 certificates (RFC 5280) that an authority signs with ECDSA: those of proxies, and the
 * authority's own. Pure but for the serial numbers.
 */

import { createHash, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIP, isIPv4 } from 'node:net';
import {
  bitString,
  boolean,
  type Der,
  explicit,
  implicit,
  integer,
  objectIdentifier,
  octetString,
  sequence,
  setOf,
  time,
  utf8String,
} from './der.ts';

const SERIAL_BYTES = 16;

const OID = {
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  commonName: '2.5.4.3',
  subjectKeyIdentifier: '2.5.29.14',
  keyUsage: '2.5.29.15',
  subjectAltName: '2.5.29.17',
  basicConstraints: '2.5.29.19',
  authorityKeyIdentifier: '2.5.29.35',
  extKeyUsage: '2.5.29.37',
  serverAuth: '1.3.6.1.5.5.7.3.1',
} as const;

/** Bits of KeyUsage, the first one highest, and how many of the last byte mean nothing. */
const DIGITAL_SIGNATURE = bitString(Buffer.from([0b1000_0000]), 7);
const KEY_CERT_SIGN_AND_CRL_SIGN = bitString(Buffer.from([0b0000_0110]), 1);

/** Kinds of a GeneralName. */
const DNS_NAME = 2;
const IP_ADDRESS = 7;

/** Milliseconds since 1970. */
interface Validity {
  readonly validFrom: number;
  readonly validTo: number;
}

export interface AuthorityKey {
  readonly commonName: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** PEM. */
export function makeAuthorityCertificate(key: AuthorityKey, validity: Validity): string {
  return certificate(key, {
    ...validity,
    subject: key.commonName,
    publicKey: key.publicKey,
    extensions: [
      // Of what it has signed nobody may sign anything.
      extension(OID.basicConstraints, sequence(boolean(true), integer(Buffer.from([0]))), true),
      extension(OID.keyUsage, KEY_CERT_SIGN_AND_CRL_SIGN, true),
      extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(key.publicKey))),
    ],
  });
}

/** PEM. `names`: host names, also with a wildcard in front, and IP addresses. */
export function makeServerCertificate(
  authority: AuthorityKey,
  options: Validity & {
    readonly commonName: string;
    readonly names: readonly string[];
    readonly publicKey: KeyObject;
  },
): string {
  const { commonName, names, publicKey, ...validity } = options;
  return certificate(authority, {
    ...validity,
    subject: commonName,
    publicKey,
    extensions: [
      extension(OID.basicConstraints, sequence(), true),
      extension(OID.keyUsage, DIGITAL_SIGNATURE, true),
      extension(OID.extKeyUsage, sequence(objectIdentifier(OID.serverAuth))),
      extension(OID.subjectAltName, sequence(...names.map(generalName))),
      extension(OID.subjectKeyIdentifier, octetString(keyIdentifier(publicKey))),
      extension(
        OID.authorityKeyIdentifier,
        sequence(implicit(0, keyIdentifier(authority.publicKey))),
      ),
    ],
  });
}

function certificate(
  issuer: AuthorityKey,
  options: Validity & {
    readonly subject: string;
    readonly publicKey: KeyObject;
    readonly extensions: readonly Der[];
  },
): string {
  const algorithm = sequence(objectIdentifier(OID.ecdsaWithSha256));
  const toBeSigned = sequence(
    // Version 3.
    explicit(0, integer(Buffer.from([2]))),
    integer(serialNumber()),
    algorithm,
    commonName(issuer.commonName),
    sequence(time(options.validFrom), time(options.validTo)),
    commonName(options.subject),
    options.publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, sequence(...options.extensions)),
  );
  const signature = sign('sha256', toBeSigned, issuer.privateKey);
  return pem(sequence(toBeSigned, algorithm, bitString(signature)));
}

/** Positive, and never the same twice (RFC 5280 section 4.1.2.2). */
function serialNumber(): Buffer {
  const bytes = randomBytes(SERIAL_BYTES);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes;
}

function commonName(name: string): Der {
  return sequence(setOf(sequence(objectIdentifier(OID.commonName), utf8String(name))));
}

function extension(id: string, value: Der, isCritical = false): Der {
  const critical = isCritical ? [boolean(true)] : [];
  return sequence(objectIdentifier(id), ...critical, octetString(value));
}

function generalName(name: string): Der {
  return isIP(name) === 0
    ? implicit(DNS_NAME, Buffer.from(name))
    : implicit(IP_ADDRESS, addressBytes(name));
}

function addressBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  const [head = '', tail = ''] = address.split('::');
  const left = groups(head);
  const right = groups(tail);
  const zeroes = Array.from({ length: 16 - left.length - right.length }, () => 0);
  return Buffer.from([...left, ...zeroes, ...right]);
}

/** Of an IPv6 address, whose last part may be written as an IPv4 address. */
function groups(text: string): readonly number[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (isIPv4(group)) return group.split('.').map(Number);
    const number = Number.parseInt(group, 16);
    return [number >> 8, number & 0xff];
  });
}

/** RFC 5280 section 4.2.1.2, the first method, of a hash that is still trusted. */
function keyIdentifier(publicKey: KeyObject): Buffer {
  const spki = publicKey.export({ type: 'spki', format: 'der' });
  return createHash('sha256').update(spki).digest().subarray(0, 20);
}

function pem(der: Der): string {
  const lines = der.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join('\n')}\n-----END CERTIFICATE-----\n`;
}
