/**
 * Logs the proxy in to a database: takes what the database asks for and says what to answer. Knows
 * `caching_sha2_password`, `sha256_password`, `mysql_native_password` and MariaDB's `ed25519`. The password
 * itself is sent over channels that nobody can read, or under the server's RSA key; never in clear
 * otherwise, and never because a plugin asks for it in clear. That is for IAM tokens, which go over TLS in that way alone.
 */

import type { Secret } from '../../../credential/secret.ts';
import { ED25519_SCRAMBLE_BYTES, ed25519Answer } from './ed25519.ts';
import { encryptPassword } from './password-key.ts';
import {
  CACHING_SHA2,
  CACHING_SHA2_REQUEST_KEY,
  CLEAR,
  cachingSha2Answer,
  ED25519,
  FAST_AUTH_SUCCESS,
  hashesOf,
  NATIVE,
  nativeAnswer,
  PERFORM_FULL_AUTHENTICATION,
  SHA256,
  SHA256_REQUEST_KEY,
} from './plugins.ts';

export type DatabaseLoginFailure =
  | { readonly why: 'unsupported_plugin'; readonly plugin: string }
  /** The database wants the password in clear, in a way that proves nothing. */
  | { readonly why: 'cleartext_refused' }
  /** We have a token, which is given by mysql_clear_password or not at all. */
  | { readonly why: 'token_not_asked_for' }
  /** The public key of the database is none, or too short for the password. */
  | { readonly why: 'unusable_key' }
  /** Not a packet of the plugin, or out of order. */
  | { readonly why: 'malformed_packet' };

export type DatabaseLoginStep =
  | { readonly kind: 'send'; readonly body: Buffer }
  /** Nothing to send; the database goes on. */
  | { readonly kind: 'wait' }
  | ({ readonly kind: 'failed' } & DatabaseLoginFailure);

export interface DatabaseAuthenticatorOptions {
  readonly password: Secret;
  /** Nobody can read what is sent: TLS, or a Unix socket. */
  readonly isSecure: boolean;
  /** The password is an IAM token. Default: no. */
  readonly isToken?: boolean;
  /** TLS; `sha256_password` takes a Unix socket for something that may be read. */
  readonly isEncrypted: boolean;
}

const WAIT: DatabaseLoginStep = { kind: 'wait' };
const MALFORMED: DatabaseLoginStep = { kind: 'failed', why: 'malformed_packet' };
const UNUSABLE_KEY: DatabaseLoginStep = { kind: 'failed', why: 'unusable_key' };
const TOKEN_NOT_ASKED_FOR: DatabaseLoginStep = { kind: 'failed', why: 'token_not_asked_for' };
/** The server has to ask for it first, by another plugin than its usual one. */
const NO_TOKEN_YET = TOKEN_NOT_ASKED_FOR;
const EMPTY = Buffer.alloc(0);

/**
 * - `answered`: the plugin's first answer is out; only caching_sha2_password has more to say.
 * - `key`: we asked for the public key.
 * - `over`: nothing but OK or an error may come.
 */
type State = 'answered' | 'key' | 'over';

export class DatabaseAuthenticator {
  private readonly options: DatabaseAuthenticatorOptions;
  private plugin = '';
  private scramble: Buffer = EMPTY;
  private state: State = 'over';

  constructor(options: DatabaseAuthenticatorOptions) {
    this.options = options;
  }

  /**
   * The plugin and the answer of the log-in packet. The plugin of the greeting is the server's default and
   * may not be the user's; one that is not known is left to the server to replace.
   */
  begin(
    plugin: string,
    scramble: Uint8Array,
  ): { readonly plugin: string; readonly answer: Buffer } {
    const step =
      this.options.isToken === true ? NO_TOKEN_YET : this.answer(plugin, Buffer.from(scramble));
    if (step.kind === 'send') return { plugin, answer: step.body };
    this.state = 'over';
    return { plugin: NATIVE, answer: EMPTY };
  }

  /** Takes an AuthSwitchRequest. */
  switchTo(plugin: string, data: Uint8Array): DatabaseLoginStep {
    return this.answer(plugin, Buffer.from(data));
  }

  private answer(plugin: string, scramble: Buffer): DatabaseLoginStep {
    const { password, isEncrypted, isToken = false } = this.options;
    this.plugin = plugin;
    this.scramble = scramble;
    this.state = 'over';
    if (isToken) {
      return plugin === CLEAR && isEncrypted ? send(inClear(password)) : TOKEN_NOT_ASKED_FOR;
    }
    const isEmpty = password.reveal() === '';
    switch (plugin) {
      case NATIVE:
        return send(isEmpty ? EMPTY : nativeAnswer(hashesOf(password), scramble));
      case CACHING_SHA2:
        this.state = 'answered';
        return send(isEmpty ? EMPTY : cachingSha2Answer(hashesOf(password), scramble));
      case SHA256:
        return isEmpty ? send(Buffer.of(0)) : this.sendPassword(SHA256_REQUEST_KEY, isEncrypted);
      case ED25519:
        if (scramble.length !== ED25519_SCRAMBLE_BYTES) return MALFORMED;
        return send(ed25519Answer(password, scramble));
      case CLEAR:
        return { kind: 'failed', why: 'cleartext_refused' };
      default:
        return { kind: 'failed', why: 'unsupported_plugin', plugin };
    }
  }

  /** Takes the data of an AuthMoreData. */
  more(data: Uint8Array): DatabaseLoginStep {
    const { state } = this;
    const { isSecure } = this.options;
    this.state = 'over';
    if (state === 'key') return this.keyReceived(data);
    if (state !== 'answered' || this.plugin !== CACHING_SHA2 || data.length !== 1) return MALFORMED;
    if (data[0] === FAST_AUTH_SUCCESS) return WAIT;
    if (data[0] === PERFORM_FULL_AUTHENTICATION)
      return this.sendPassword(CACHING_SHA2_REQUEST_KEY, isSecure);
    return MALFORMED;
  }

  private sendPassword(requestKey: number, isClear: boolean): DatabaseLoginStep {
    const { password } = this.options;
    if (isClear) return send(inClear(password));
    this.state = 'key';
    return send(Buffer.of(requestKey));
  }

  private keyReceived(pem: Uint8Array): DatabaseLoginStep {
    const encrypted = encryptPassword(this.options.password, this.scramble, pem);
    return encrypted === undefined ? UNUSABLE_KEY : send(encrypted);
  }
}

function inClear(password: Secret): Buffer {
  return Buffer.from(`${password.reveal()}\0`);
}

function send(body: Buffer): DatabaseLoginStep {
  return { kind: 'send', body };
}
