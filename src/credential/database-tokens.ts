/**
 * The tokens that the proxy itself logs in with, at databases that know it by IAM: made by whoever has credentials,
 * and used again for a while, because a login costs the database enough without a new one each time.
 */

import { Secret } from './secret.ts';

/** A token is good for 15 minutes, also by a clock that is a little behind. */
const TOKEN_REUSED_MS = 10 * 60_000;
/** A refused token that is younger than this is not worth replacing. */
const TOKEN_FRESH_MS = 5_000;
/** So many are kept; beyond it the oldest is made anew. */
const TOKENS_MAX = 1_000;

/** Who logs in, and where. */
export interface TokenPlace {
  readonly username: string;
  readonly hostname: string;
  readonly port: number;
}

/** Rejects with what is wrong with the credentials, for people. */
export type TokenSigner = (place: TokenPlace & { readonly region: string }) => Promise<string>;

export interface DatabaseTokensOptions {
  readonly sign: TokenSigner;
  /** Read for each token. */
  readonly region: () => string;
  /** Milliseconds, of a clock that only goes forward. */
  readonly now: () => number;
}

interface MadeToken {
  readonly token: Promise<Secret>;
  readonly madeAt: number;
}

export class DatabaseTokens {
  private readonly options: DatabaseTokensOptions;
  private readonly known = new Map<string, MadeToken>();

  constructor(options: DatabaseTokensOptions) {
    this.options = options;
  }

  /** Rejects when there are no credentials to make one with. */
  tokenFor(place: TokenPlace): Promise<Secret> {
    const known = this.known.get(nameOf(place));
    const isGood = known !== undefined && this.ageOf(known) < TOKEN_REUSED_MS;
    return isGood ? known.token : this.make(place);
  }

  /** In place of one that was refused; undefined when another would be no better. */
  anotherFor(place: TokenPlace): Promise<Secret> | undefined {
    const known = this.known.get(nameOf(place));
    const isNew = known !== undefined && this.ageOf(known) < TOKEN_FRESH_MS;
    return isNew ? undefined : this.make(place);
  }

  private ageOf({ madeAt }: MadeToken): number {
    return this.options.now() - madeAt;
  }

  private make(place: TokenPlace): Promise<Secret> {
    const { sign, region, now } = this.options;
    const token = sign({ ...place, region: region() }).then((text) => new Secret(text));
    const made = { token, madeAt: now() };
    const name = nameOf(place);
    this.known.delete(name);
    this.known.set(name, made);
    for (const oldest of this.known.keys()) {
      if (this.known.size <= TOKENS_MAX) break;
      this.known.delete(oldest);
    }
    token.catch(() => {
      if (this.known.get(name) === made) this.known.delete(name);
    });
    return token;
  }
}

function nameOf({ username, hostname, port }: TokenPlace): string {
  return `${hostname}:${port}/${username}`;
}
