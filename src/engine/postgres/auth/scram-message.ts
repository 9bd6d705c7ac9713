/**
 * The four messages of a SCRAM exchange, RFC 5802 section 7, read and written; what they mean is
 * decided by `scram-server.ts` and `scram-client.ts`. Readers are total: undefined for anything
 * that is not exactly such a message, in time linear in its limited length. Text is Latin-1, one
 * character for each byte, because the user name may be in any encoding and everything is hashed
 * as it came.
 */

import { decodeBase64, encodeBase64 } from './base64.ts';
import { SCRAM_KEY_BYTES } from './scram-keys.ts';

export const SCRAM_SHA_256 = 'SCRAM-SHA-256';
export const SCRAM_SHA_256_PLUS = 'SCRAM-SHA-256-PLUS';
export type ScramMechanism = typeof SCRAM_SHA_256 | typeof SCRAM_SHA_256_PLUS;

/** PG_MAX_SASL_MESSAGE_LENGTH of src/include/libpq/sasl.h. */
export const SCRAM_MESSAGE_BYTES_MAX = 1024;
/** Drivers send 18 to 48 characters; the rest of a message must fit as well. */
export const SCRAM_NONCE_LENGTH_MAX = 256;
/** PostgreSQL's salt is 16 bytes. */
export const SCRAM_SALT_BYTES_MAX = 256;
/**
 * What a database may ask us to compute: more than the 600,000 that OWASP recommends for
 * PBKDF2-HMAC-SHA-256, and about 0.1 to 0.5 s of one thread, once, then cached.
 */
export const SCRAM_ITERATIONS_MAX = 1_000_000;

export interface ClientFirst {
  /** `n,,`, `y,,` or `p=name,,`; repeated inside `c=` of the final message. */
  readonly gs2Header: string;
  readonly bindingFlag: 'n' | 'y' | 'p';
  /** Of flag `p`, else empty. */
  readonly bindingName: string;
  /** The message after the header, as it is hashed. */
  readonly bare: string;
  readonly nonce: string;
}

export interface ServerFirst {
  readonly nonce: string;
  readonly salt: Buffer;
  readonly iterations: number;
}

export interface ClientFinal {
  /** Still in base64: it is compared, not read. */
  readonly binding: string;
  readonly nonce: string;
  readonly proof: Buffer;
  /** The message up to the proof, as it is hashed. */
  readonly withoutProof: string;
}

const GS2_HEADER = /^(?:([ny])|(p)=([A-Za-z0-9.-]+)),,/;
const PRINTABLE = /^[\x21-\x2b\x2d-\x7e]+$/;
const POSITIVE = /^[1-9][0-9]{0,8}$/;
const ATTRIBUTE = /^[A-Za-z]=/;
/** Letters with a meaning of their own, which no extension may take (RFC 5802 section 5.1). */
const RESERVED = /^[anmrcsipve]=/;

/** The text of a message, or undefined when it is too long or no C string could hold it. */
export function textOf(message: Uint8Array): string | undefined {
  if (message.length === 0 || message.length > SCRAM_MESSAGE_BYTES_MAX) return undefined;
  if (message.includes(0)) return undefined;
  return Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString('latin1');
}

export function bytesOf(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** An authorisation identity, `n,a=...,`, is refused like every other surprise: PostgreSQL has none. */
export function readClientFirst(text: string): ClientFirst | undefined {
  const header = GS2_HEADER.exec(text);
  if (header === null) return undefined;
  const [gs2Header, plainFlag, , bindingName = ''] = header;
  const bare = text.slice(gs2Header.length);
  const [user, nonceAttribute, ...extensions] = bare.split(',');
  const nonce = nonceOf(nonceAttribute);
  if (!user?.startsWith('n=') || nonce === undefined) return undefined;
  if (!extensions.every(isExtension)) return undefined;
  const bindingFlag = plainFlag === 'n' || plainFlag === 'y' ? plainFlag : 'p';
  return { gs2Header, bindingFlag, bindingName, bare, nonce };
}

/** Like libpq, takes no extensions here. */
export function readServerFirst(text: string): ServerFirst | undefined {
  const [nonceAttribute, saltAttribute, iterationsAttribute, ...rest] = text.split(',');
  const nonce = nonceOf(nonceAttribute);
  const salt = decodedValue(saltAttribute, 's');
  const iterations = attributeValue(iterationsAttribute, 'i');
  if (nonce === undefined || salt === undefined || iterations === undefined) return undefined;
  if (rest.length > 0 || !POSITIVE.test(iterations)) return undefined;
  if (salt.length === 0 || salt.length > SCRAM_SALT_BYTES_MAX) return undefined;
  return { nonce, salt, iterations: Number(iterations) };
}

export function readClientFinal(text: string): ClientFinal | undefined {
  const [bindingAttribute, nonceAttribute, ...rest] = text.split(',');
  const proofAttribute = rest.pop();
  const binding = attributeValue(bindingAttribute, 'c');
  const nonce = nonceOf(nonceAttribute);
  const proof = decodedValue(proofAttribute, 'p');
  if (binding === undefined || nonce === undefined) return undefined;
  if (proof?.length !== SCRAM_KEY_BYTES || !rest.every(isExtension)) return undefined;
  const withoutProof = text.slice(0, text.lastIndexOf(','));
  return { binding, nonce, proof, withoutProof };
}

/** The server's signature; undefined also for `e=`, by which a server refuses. */
export function readServerFinal(text: string): Buffer | undefined {
  const signature = decodedValue(text, 'v');
  return signature?.length === SCRAM_KEY_BYTES ? signature : undefined;
}

export function writeServerFirst(nonce: string, salt: Uint8Array, iterations: number): string {
  return `r=${nonce},s=${encodeBase64(salt)},i=${iterations}`;
}

export function writeClientFinal(withoutProof: string, proof: Uint8Array): string {
  return `${withoutProof},p=${encodeBase64(proof)}`;
}

export function writeServerFinal(signature: Uint8Array): string {
  return `v=${encodeBase64(signature)}`;
}

/** The value of `c=`: the header again and, with flag `p` only, what the channel is known by. */
export function bindingInput(gs2Header: string, channel: Uint8Array | undefined): string {
  const header = bytesOf(gs2Header);
  return encodeBase64(channel === undefined ? header : Buffer.concat([header, channel]));
}

/** AuthMessage of RFC 5802 section 3: what both sides sign. */
export function authMessageOf(
  clientFirstBare: string,
  serverFirst: string,
  clientFinalWithoutProof: string,
): string {
  return `${clientFirstBare},${serverFirst},${clientFinalWithoutProof}`;
}

function isExtension(attribute: string): boolean {
  return ATTRIBUTE.test(attribute) && !RESERVED.test(attribute);
}

function nonceOf(attribute: string | undefined): string | undefined {
  const nonce = attributeValue(attribute, 'r');
  if (nonce === undefined || nonce.length > SCRAM_NONCE_LENGTH_MAX) return undefined;
  return PRINTABLE.test(nonce) ? nonce : undefined;
}

function decodedValue(attribute: string | undefined, letter: string): Buffer | undefined {
  const value = attributeValue(attribute, letter);
  return value === undefined ? undefined : decodeBase64(value);
}

function attributeValue(attribute: string | undefined, letter: string): string | undefined {
  return attribute?.startsWith(`${letter}=`) ? attribute.slice(2) : undefined;
}
