/** The client's side of MySQL's logins: what is sent for a password, by the plugin that the server names. */

import { constants, createHash, publicEncrypt } from 'node:crypto';
import { signEd25519 } from './ed25519.ts';

const FAST_DONE = 3;
const FULL_WANTED = 4;
const KEY_REQUEST = 2;
const SHA256_KEY_REQUEST = 1;

/** What the wire protects: with it, a password may be sent as it is. `sha256_password` wants TLS for that. */
export interface LoginChannel {
  readonly isSecure: boolean;
  readonly isTls: boolean;
}

export class MysqlLogin {
  readonly #password: Buffer;
  readonly #channel: LoginChannel;
  #plugin = '';
  #challenge: Buffer = Buffer.alloc(0);
  /** What happened, in order: names of plugins, `fast`, `full`, `key`. */
  readonly steps: string[] = [];

  constructor(password: string | Uint8Array, channel: LoginChannel) {
    this.#password = Buffer.from(password);
    this.#channel = channel;
  }

  /** The first answer by a plugin; undefined when we do not know it. */
  begin(plugin: string, challenge: Buffer): Buffer | undefined {
    this.#plugin = plugin;
    this.#challenge = challenge.length === 21 ? challenge.subarray(0, 20) : challenge;
    this.steps.push(plugin);
    switch (plugin) {
      case 'mysql_native_password':
        return this.#native();
      case 'caching_sha2_password':
        return this.#sha2();
      case 'sha256_password':
        if (this.#password.length === 0) return Buffer.from([0]);
        return this.#channel.isTls ? this.#clear() : Buffer.from([SHA256_KEY_REQUEST]);
      case 'mysql_clear_password':
        return this.#clear();
      case 'client_ed25519':
        return signEd25519(this.#password, this.#challenge);
      default:
        return undefined;
    }
  }

  /** The answer to AuthMoreData; undefined when none is due. */
  more(data: Buffer): Buffer | undefined {
    if (data.length === 1 && data[0] === FAST_DONE) {
      this.steps.push('fast');
      return undefined;
    }
    if (data.length === 1 && data[0] === FULL_WANTED) {
      this.steps.push('full');
      return this.#channel.isSecure ? this.#clear() : Buffer.from([KEY_REQUEST]);
    }
    this.steps.push('key');
    return this.#encrypted(data.toString());
  }

  #native(): Buffer {
    if (this.#password.length === 0) return Buffer.alloc(0);
    const once = digest('sha1', this.#password);
    return xor(once, digest('sha1', this.#challenge, digest('sha1', once)));
  }

  #sha2(): Buffer {
    if (this.#password.length === 0) return Buffer.alloc(0);
    const once = digest('sha256', this.#password);
    return xor(once, digest('sha256', digest('sha256', once), this.#challenge));
  }

  #clear(): Buffer {
    return Buffer.concat([this.#password, Buffer.from([0])]);
  }

  #encrypted(key: string): Buffer {
    const padded = xor(this.#clear(), this.#challenge);
    return publicEncrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING }, padded);
  }

  get plugin(): string {
    return this.#plugin;
  }
}

function digest(algorithm: string, ...parts: readonly Uint8Array[]): Buffer {
  const hash = createHash(algorithm);
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The mask repeats. */
function xor(bytes: Buffer, mask: Buffer): Buffer {
  return Buffer.from(bytes.map((byte, at) => byte ^ (mask[at % mask.length] ?? 0)));
}
