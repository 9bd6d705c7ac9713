/**
 * The client's side of SCRAM-SHA-256 and MD5, without channel binding. Salted passwords are kept,
 * so that five thousand logins with one salt cost one PBKDF2; the cache is capped.
 * RFC 5802, RFC 7677, https://www.postgresql.org/docs/current/sasl-authentication.html
 */

import { createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';

const KEY_LENGTH = 32;
const SALTED_PASSWORDS_MAX = 256;

const saltedPasswords = new Map<string, Buffer>();

function hmac(key: Uint8Array, value: string): Buffer {
  return createHmac('sha256', key).update(value).digest();
}

function saltedPassword(password: string, salt: string, iterations: number): Buffer {
  const key = `${iterations}:${salt}:${password}`;
  const known = saltedPasswords.get(key);
  if (known) return known;
  const made = pbkdf2Sync(password, Buffer.from(salt, 'base64'), iterations, KEY_LENGTH, 'sha256');
  if (saltedPasswords.size >= SALTED_PASSWORDS_MAX) saltedPasswords.clear();
  saltedPasswords.set(key, made);
  return made;
}

/** One login: `first`, then `final` with what the server said first. */
export class ScramClient {
  readonly #password: string;
  readonly #nonce = randomBytes(18).toString('base64');
  readonly #bare = `n=,r=${this.#nonce}`;
  #serverSignature = '';

  constructor(password: string) {
    this.#password = password;
  }

  first(): Buffer {
    return Buffer.from(`n,,${this.#bare}`);
  }

  final(serverFirst: string): Buffer {
    const attributes = attributesOf(serverFirst);
    const nonce = attributes.get('r') ?? '';
    if (!nonce.startsWith(this.#nonce)) throw new Error('SCRAM: the nonce is not ours');
    const iterations = Number(attributes.get('i'));
    const salted = saltedPassword(this.#password, attributes.get('s') ?? '', iterations);
    const clientKey = hmac(salted, 'Client Key');
    const storedKey = createHash('sha256').update(clientKey).digest();
    const withoutProof = `c=biws,r=${nonce}`;
    const authMessage = `${this.#bare},${serverFirst},${withoutProof}`;
    const signature = hmac(storedKey, authMessage);
    const proof = clientKey.map((byte, index) => byte ^ (signature[index] ?? 0));
    this.#serverSignature = hmac(hmac(salted, 'Server Key'), authMessage).toString('base64');
    return Buffer.from(`${withoutProof},p=${Buffer.from(proof).toString('base64')}`);
  }

  /** Throws unless the server knows the password too. */
  verify(serverFinal: string): void {
    if (attributesOf(serverFinal).get('v') !== this.#serverSignature) {
      throw new Error('SCRAM: the server does not know the password');
    }
  }
}

function attributesOf(message: string): ReadonlyMap<string, string> {
  return new Map(message.split(',').map((part) => [part.slice(0, 1), part.slice(2)]));
}

function md5(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('md5');
  for (const part of parts) hash.update(part);
  return hash.digest('hex');
}

export function md5Response(user: string, password: string, salt: Uint8Array): string {
  return `md5${md5(md5(password, user), salt)}`;
}
