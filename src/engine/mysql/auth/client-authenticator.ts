/**
 * Logs one client in: judges what it answers and says what to send it, payloads in and out; sockets,
 * deadlines and error texts are the caller's. A user that does not exist goes through the same packets
 * as one that does and fails at the same point; only `why` tells them apart, and that is for the
 * log, never for the client.
 */

import { randomInt } from 'node:crypto';
import type { ClientPasswordAuthType } from '../../../credential/credentials.ts';
import type { Secret } from '../../../credential/secret.ts';
import type { TokenCheck } from '../../../credential/token-judge.ts';
import { SCRAMBLE_BYTES } from '../wire/handshake.ts';
import { ClientCachingSha2Exchange } from './client-caching-sha2-exchange.ts';
import type { ClientExchange, LoginFailure, Step } from './client-exchange.ts';
import { ClientClearExchange, ClientNativeExchange } from './client-native-exchange.ts';
import { ClientTokenExchange } from './client-token-exchange.ts';
import { ExpectedPassword } from './expected-password.ts';
import type { PasswordKey } from './password-key.ts';
import { CACHING_SHA2, CLEAR, NATIVE } from './plugins.ts';

export type { LoginFailure, Step };

const NOTHING = Buffer.alloc(0);

/** The plugins that `ClientPasswordAuthType` can ask for. */
export type ClientPlugin = typeof NATIVE | typeof CACHING_SHA2;

export function pluginFor(type: ClientPasswordAuthType): ClientPlugin {
  switch (type) {
    case 'MYSQL_NATIVE_PASSWORD':
      return NATIVE;
    // The configuration keeps the types of the other engine family out.
    case 'POSTGRES_MD5':
    case 'POSTGRES_SCRAM_SHA_256':
    case 'MYSQL_CACHING_SHA2_PASSWORD':
      return CACHING_SHA2;
  }
}

export interface ClientAuthenticatorOptions {
  readonly password: Secret | undefined;
  /** Good as well; default: none. */
  readonly others?: readonly Secret[];
  /** The user has to give an IAM token, over a channel that nobody can read. */
  readonly checkToken?: TokenCheck | undefined;
  readonly plugin: ClientPlugin;
  /** Nobody can read what the client sends: TLS, or a Unix socket. */
  readonly isSecure: boolean;
  readonly passwordKey: PasswordKey;
}

export interface FirstAnswer {
  /** The plugin that the client has chosen; undefined when it knows none. */
  readonly plugin: string | undefined;
  readonly answer: Buffer;
  /** Of the greeting, which the client has answered. */
  readonly scramble: Uint8Array;
}

export class ClientAuthenticator {
  private readonly options: ClientAuthenticatorOptions;
  private readonly expected: ExpectedPassword;
  private exchange: ClientExchange | undefined = undefined;

  constructor(options: ClientAuthenticatorOptions) {
    this.options = options;
    this.expected = new ExpectedPassword(options.password, options.others);
  }

  /** Takes what came with the log-in. */
  begin({ plugin = NATIVE, answer, scramble }: FirstAnswer): Step {
    const { checkToken } = this.options;
    if (checkToken !== undefined) {
      // A token must not be asked for where others can read it.
      if (!this.options.isSecure) return { kind: 'failed', why: 'no_tls', hasPassword: false };
      this.exchange = new ClientTokenExchange(checkToken);
      if (plugin === CLEAR) return this.exchange.respond(answer);
      return { kind: 'switch', plugin: CLEAR, data: NOTHING };
    }
    if (plugin === CLEAR && this.options.isSecure) {
      this.exchange = new ClientClearExchange(this.expected);
    } else if (plugin === this.options.plugin) {
      this.exchange = this.exchangeOn(scramble);
    }
    return this.exchange === undefined ? this.otherPlugin() : this.exchange.respond(answer);
  }

  /** As `begin`, for a client that cannot be asked for another plugin than the one it has chosen. */
  beginWithoutPlugins(answer: Buffer, scramble: Uint8Array): Step {
    const { checkToken, plugin } = this.options;
    if (plugin !== NATIVE || checkToken !== undefined) return { kind: 'too_old' };
    return this.begin({ plugin: NATIVE, answer, scramble });
  }

  /** Takes the answer to what a step said. */
  respond(answer: Buffer): Step {
    return this.exchange?.respond(answer) ?? this.otherPlugin();
  }

  /** What the client has answered was not for this scramble, and is not looked at. */
  private otherPlugin(): Step {
    const scramble = newScramble();
    this.exchange = this.exchangeOn(scramble);
    return { kind: 'switch', plugin: this.options.plugin, data: scramble };
  }

  private exchangeOn(scramble: Uint8Array): ClientExchange {
    const { plugin, isSecure, passwordKey } = this.options;
    const { expected } = this;
    switch (plugin) {
      case NATIVE:
        return new ClientNativeExchange(expected, scramble);
      case CACHING_SHA2:
        return new ClientCachingSha2Exchange({ expected, scramble, isSecure, passwordKey });
    }
  }
}

/** Of 7 bits each, and as servers make them: without NUL, which ends it, and `$`, which separates in hashes. */
export function newScramble(): Buffer {
  const scramble = Buffer.alloc(SCRAMBLE_BYTES);
  for (let at = 0; at < SCRAMBLE_BYTES; at++) {
    const value = randomInt(1, 0x7f);
    scramble[at] = value < 0x24 ? value : value + 1;
  }
  return scramble;
}
