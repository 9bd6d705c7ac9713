/**
 * Which password a database is told, while it may be changing: the current one of the secret and, when that
 * is refused, what the secret will be and what it has been. When the database refuses all of them, the
 * secret is looked up once more; a user who was let in before is then given time, because whoever changes a
 * password needs two steps, one at the database and one at the secret. After that time it is an error; and
 * at once where the secret stays what it is until a reload, which puts things right as soon as it comes.
 */

import type { UserCredential } from '../credential/credentials.ts';
import type { DatabaseTokens, TokenPlace } from '../credential/database-tokens.ts';
import type { Secret } from '../credential/secret.ts';
import { identityOf, type SecretIdentity } from '../credential/secret-identity.ts';
import type { Address, TcpAddress } from '../net/address.ts';

/** Between the two steps of a change. Clients who need a connection wait that long. */
export const ROTATION_GRACE_MS = 30_000;

/** What becomes of the passwords of one log-in at a database. */
export interface PasswordTrial {
  accepted(): void;
  /** Another password to try; `wait`: none now, and soon perhaps; `undefined`: none. */
  refused(): Promise<Secret | 'wait' | undefined>;
}

/** Who logs in. */
export interface DatabaseUser {
  readonly user: string;
  /** What to begin with. */
  readonly password: Secret | TokenSource;
  readonly trial: PasswordTrial;
}

/** In place of a password: an IAM token, which the database gets over TLS, in clear, and in no other way. */
export interface TokenSource {
  /** For the database at `address`. Rejects when there are no credentials to make one with. */
  token(address: TcpAddress): Promise<Secret>;
}

export interface DatabasePasswordsOptions {
  readonly find: (user: string) => UserCredential | undefined;
  /** Whether a token is what to log in with as `user`. */
  readonly hasToken: (user: string) => boolean;
  readonly tokens: DatabaseTokens;
  /** Looks the secret of the user up again; resolves when what `find` says is as new as it gets. */
  readonly refresh: (user: string) => Promise<void>;
  /** Milliseconds, of a clock that only goes forward. */
  readonly now: () => number;
}

interface UserHistory {
  /** Since when every password has been refused; undefined while the last one was not. */
  refusedSince: number | undefined;
}

export class DatabasePasswords {
  private readonly options: DatabasePasswordsOptions;
  /** Of users who have been let in. As many as the proxy has users. */
  private readonly histories = new Map<string, UserHistory>();

  constructor(options: DatabasePasswordsOptions) {
    this.options = options;
  }

  /** What to log in with; undefined when there are no credentials for `user`. */
  loginOf(user: string): DatabaseUser | undefined {
    const { find, hasToken, tokens } = this.options;
    const password = find(user)?.password;
    if (password !== undefined) return { user, password, trial: new Trial(user, password, this) };
    if (!hasToken(user)) return undefined;
    const token = new TokenLogin(user, tokens);
    return { user, password: token, trial: token };
  }

  /** Whether a refusal may be because the password is just being changed. */
  isChanging(user: string): boolean {
    const since = this.histories.get(user)?.refusedSince;
    return since !== undefined && this.options.now() - since < ROTATION_GRACE_MS;
  }

  /** Forgets users that are not known any more. */
  prune(): void {
    for (const user of this.histories.keys()) {
      if (this.options.find(user) === undefined) this.histories.delete(user);
    }
  }

  accepted(user: string): void {
    const history = this.histories.get(user);
    if (history === undefined) this.histories.set(user, { refusedSince: undefined });
    else history.refusedSince = undefined;
  }

  /** What has not been tried yet, looked up anew if need be. */
  async next(user: string, tried: ReadonlySet<SecretIdentity>): Promise<Secret | undefined> {
    const known = this.untried(user, tried);
    if (known !== undefined) return known;
    await this.options.refresh(user);
    return this.untried(user, tried);
  }

  allRefused(user: string): 'wait' | undefined {
    const history = this.histories.get(user);
    const mayChange = this.options.find(user)?.mayChange ?? false;
    if (history === undefined || !mayChange) return undefined;
    history.refusedSince ??= this.options.now();
    return this.isChanging(user) ? 'wait' : undefined;
  }

  private untried(user: string, tried: ReadonlySet<SecretIdentity>): Secret | undefined {
    const credential = this.options.find(user);
    if (credential === undefined) return undefined;
    const all = [credential.password, ...credential.others.map(({ password }) => password)];
    return all.find((password) => !tried.has(identityOf(password)));
  }
}

/** One log-in with a token, and with one more, unless the refused one was new. */
class TokenLogin implements TokenSource, PasswordTrial {
  private readonly username: string;
  private readonly tokens: DatabaseTokens;
  private place: TokenPlace | undefined = undefined;

  constructor(username: string, tokens: DatabaseTokens) {
    this.username = username;
    this.tokens = tokens;
  }

  token({ host: hostname, port }: TcpAddress): Promise<Secret> {
    this.place = { username: this.username, hostname, port };
    return this.tokens.tokenFor(this.place);
  }

  accepted(): void {}

  async refused(): Promise<Secret | undefined> {
    const { place } = this;
    // Without credentials the refusal that there was says more.
    return place && (await this.tokens.anotherFor(place)?.catch(() => undefined));
  }
}

class Trial implements PasswordTrial {
  private readonly user: string;
  private readonly passwords: DatabasePasswords;
  private readonly tried = new Set<SecretIdentity>();

  constructor(user: string, password: Secret, passwords: DatabasePasswords) {
    this.user = user;
    this.passwords = passwords;
    this.tried.add(identityOf(password));
  }

  accepted(): void {
    this.passwords.accepted(this.user);
  }

  async refused(): Promise<Secret | 'wait' | undefined> {
    const next = await this.passwords.next(this.user, this.tried);
    if (next === undefined) return this.passwords.allRefused(this.user);
    this.tried.add(identityOf(next));
    return next;
  }
}

/** What a log-in at `address` begins with; or why there is nothing, for people. */
export async function firstPassword(
  source: TokenSource,
  address: Address,
): Promise<Secret | { readonly why: string }> {
  if ('socketPath' in address) return { why: NO_TLS_FOR_TOKEN };
  try {
    return await source.token(address);
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    return { why: `no IAM token could be made: ${said}` };
  }
}

export const NO_TLS_FOR_TOKEN =
  'an IAM token is only sent over TLS, and the database connection has none';
export const TOKEN_NOT_ASKED_FOR =
  'the database asks the user for a password and not for an IAM token, so it does not know the user by IAM';
