/**
 * What secrets are encrypted with where they are kept: AES-256-GCM with a random nonce for each value. What
 * a value belongs to is authenticated with it, so one that was moved to another secret does not open. The
 * first key seals; all of them open, and each sealed value names its own. Pure.
 */

import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
/** NIST SP 800-38D, 8.2.2: with random ones a key is good for 2^32 values. */
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_LENGTH = 12;

export interface Sealed {
  /** The id of the key; tells nothing about it. */
  readonly key: string;
  /** Nonce, ciphertext and tag, in base64. */
  readonly value: string;
}

/** A value cannot be opened. The message is for people, and names no value. */
export class SealError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'SealError';
  }
}

interface Key {
  readonly id: string;
  readonly bytes: Buffer;
}

export class Keyring {
  readonly #keys: readonly Key[];

  private constructor(keys: readonly Key[]) {
    this.#keys = keys;
  }

  /**
   * Reads keys, the one to seal with first: each is 32 bytes in base64 or in hexadecimal; white space or
   * commas are between them, and a line that begins with `#` is no key. Undefined when it is not that.
   */
  static parse(text: string): Keyring | undefined {
    const words = text.replace(/^\s*#.*$/gm, '').match(/[^\s,]+/g) ?? [];
    const keys = words.map(readKey).filter((key) => key !== undefined);
    if (keys.length === 0 || keys.length < words.length) return undefined;
    return new Keyring(keys);
  }

  /** One of a new key, and that key as a text to keep. */
  static generate(): { readonly keyring: Keyring; readonly text: string } {
    const bytes = randomBytes(KEY_BYTES);
    return {
      keyring: new Keyring([{ id: idOf(bytes), bytes }]),
      text: `${bytes.toString('base64')}\n`,
    };
  }

  static readonly EMPTY = new Keyring([]);

  /** All keys of both; this one's first key still seals. */
  and(other: Keyring): Keyring {
    return new Keyring([...this.#keys, ...other.#keys]);
  }

  get isEmpty(): boolean {
    return this.#keys.length === 0;
  }

  /** True when `sealed` is what `seal` would make today. */
  isCurrent({ key }: Sealed): boolean {
    return this.#keys[0]?.id === key;
  }

  /** `place` is what the value belongs to. */
  seal(value: Uint8Array, place: string): Sealed {
    const [key] = this.#keys;
    if (key === undefined) throw new SealError('there is no key');
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, key.bytes, nonce);
    cipher.setAAD(Buffer.from(place));
    const bytes = [nonce, cipher.update(value), cipher.final(), cipher.getAuthTag()];
    return { key: key.id, value: Buffer.concat(bytes).toString('base64') };
  }

  /** Throws `SealError`. */
  open(sealed: Sealed, place: string): Buffer {
    const key = this.#keys.find(({ id }) => id === sealed.key);
    if (key === undefined) {
      throw new SealError(`it is encrypted with the key ${sealed.key}, which is not given`);
    }
    const bytes = Buffer.from(sealed.value, 'base64');
    try {
      const decipher = createDecipheriv(CIPHER, key.bytes, bytes.subarray(0, NONCE_BYTES), {
        authTagLength: TAG_BYTES,
      });
      decipher.setAAD(Buffer.from(place));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const ciphertext = bytes.subarray(NONCE_BYTES, -TAG_BYTES);
      return Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    } catch {
      throw new SealError('it is damaged');
    }
  }
}

function readKey(word: string): Key | undefined {
  const isHex = /^[0-9a-f]{64}$/i.test(word);
  const bytes = Buffer.from(word, isHex ? 'hex' : 'base64');
  const isWhole = isHex || /^[A-Za-z0-9+/_-]{43}=?$/.test(word);
  return isWhole && bytes.length === KEY_BYTES ? { id: idOf(bytes), bytes } : undefined;
}

function idOf(key: Buffer): string {
  const mac = createHmac('sha256', key).update('the id of this key').digest('hex');
  return mac.slice(0, KEY_ID_LENGTH);
}
