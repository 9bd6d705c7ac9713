/**
 * The credentials of one proxy: which password belongs to a user, and how the user's clients prove
 * that they have it. Built whole from desired state and replaced whole when that changes; it never
 * changes itself. Whatever is wrong with the input is returned as problems, not thrown, and a user
 * whose password is in doubt is not found.
 */

import type { Secret } from './secret.ts';
import { identityOf, type SecretIdentity } from './secret-identity.ts';

/** The quota of RDS Proxy, "secrets per proxy". */
export const SECRETS_PER_PROXY_MAX = 200;

export type PostgresPasswordAuthType = 'POSTGRES_SCRAM_SHA_256' | 'POSTGRES_MD5';
export type MySqlPasswordAuthType = 'MYSQL_CACHING_SHA2_PASSWORD' | 'MYSQL_NATIVE_PASSWORD';
/** Of one engine family in all entries of a proxy, as the configuration has made sure. */
export type ClientPasswordAuthType = PostgresPasswordAuthType | MySqlPasswordAuthType;

const STRONGEST_FIRST: readonly ClientPasswordAuthType[] = [
  'POSTGRES_SCRAM_SHA_256',
  'MYSQL_CACHING_SHA2_PASSWORD',
  'POSTGRES_MD5',
  'MYSQL_NATIVE_PASSWORD',
];

/** What is needed of an entry of `Secrets`. */
export interface SecretSource {
  readonly Name: string;
  readonly username: string;
  readonly password: Secret;
  /** What it will be, and what it has been. */
  readonly others?: readonly OtherSource[];
  /** It may say something else at any time, without a reload. Default: no. */
  readonly mayChange?: boolean;
}

interface OtherSource extends OtherPassword {
  readonly username: string;
}

/** One that is good beside the current one, while that is being changed. */
export interface OtherPassword {
  readonly password: Secret;
  /** Until when clients may use it: milliseconds since 1970. */
  readonly acceptedUntil: number;
}

/** What is needed of an entry of a proxy's `Auth`. */
export interface AuthSource {
  /** The `Name` of a secret. */
  readonly SecretArn: string;
  readonly ClientPasswordAuthType: ClientPasswordAuthType;
  /** REQUIRED: clients give IAM tokens instead of the password, which is for the database alone. */
  readonly IAMAuth: 'DISABLED' | 'REQUIRED';
}

/**
 * What becomes of users whom no entry of `Auth` names. IAM_AUTH: whoever may log in with a token, and the proxy
 * logs in to the database with one of its own.
 */
export type DefaultAuthScheme = 'NONE' | 'IAM_AUTH';

export interface UserCredential {
  readonly user: string;
  readonly password: Secret;
  readonly others: readonly OtherPassword[];
  readonly clientPasswordAuthType: ClientPasswordAuthType;
  /** Its clients give IAM tokens. */
  readonly isIam: boolean;
  /** Another password may come at any time, without a reload. */
  readonly mayChange: boolean;
  /** Equal while the password is; see `secret-identity.ts`. */
  readonly version: SecretIdentity;
}

export interface CredentialProblem {
  readonly kind: 'duplicate_user' | 'secret_missing' | 'too_many_secrets';
  /** Position in `Auth` of the entry that is to blame. */
  readonly authIndex: number;
  /** For whoever wrote the configuration; names users and secrets, never a password. */
  readonly text: string;
}

export interface ResolvedCredentials {
  readonly credentials: Credentials;
  readonly problems: readonly CredentialProblem[];
}

export class Credentials {
  readonly #byUser: ReadonlyMap<string, UserCredential>;
  /** In doubt which secret is theirs. */
  readonly #ambiguous: ReadonlySet<string>;
  readonly defaultAuthScheme: DefaultAuthScheme;
  /** Why users are not among them. */
  readonly problems: readonly CredentialProblem[];

  private constructor(
    byUser: ReadonlyMap<string, UserCredential>,
    ambiguous: ReadonlySet<string>,
    defaultAuthScheme: DefaultAuthScheme,
    problems: readonly CredentialProblem[],
  ) {
    this.#byUser = byUser;
    this.#ambiguous = ambiguous;
    this.defaultAuthScheme = defaultAuthScheme;
    this.problems = problems;
  }

  /** Reads `auth` in order; names of `secrets` must be unique. Users in two entries are left out. */
  static resolve(
    auth: readonly AuthSource[],
    secrets: readonly SecretSource[],
    defaultAuthScheme: DefaultAuthScheme = 'NONE',
  ): ResolvedCredentials {
    const byName = new Map(secrets.map((secret) => [secret.Name, secret]));
    const byUser = new Map<string, UserCredential>();
    const ambiguous = new Set<string>();
    const problems: CredentialProblem[] = [];
    if (auth.length > SECRETS_PER_PROXY_MAX) problems.push(tooManySecrets(auth.length));
    for (const [authIndex, entry] of auth.slice(0, SECRETS_PER_PROXY_MAX).entries()) {
      const secret = byName.get(entry.SecretArn);
      if (secret === undefined) {
        problems.push(secretMissing(authIndex, entry.SecretArn));
      } else if (byUser.has(secret.username)) {
        problems.push(duplicateUser(authIndex, secret.username));
        ambiguous.add(secret.username);
      } else {
        byUser.set(secret.username, credentialOf(secret, entry));
      }
    }
    for (const user of ambiguous) byUser.delete(user);
    for (const entry of auth.slice(0, SECRETS_PER_PROXY_MAX)) {
      for (const former of formerUsers(byName.get(entry.SecretArn), entry)) {
        if (!byUser.has(former.user) && !ambiguous.has(former.user)) {
          byUser.set(former.user, former);
        }
      }
    }
    const credentials = new Credentials(byUser, ambiguous, defaultAuthScheme, problems);
    return { credentials, problems };
  }

  /** User names are compared byte for byte, as PostgreSQL does. */
  find(user: string): UserCredential | undefined {
    return this.#byUser.get(user);
  }

  /** Whether the proxy can log in to the database as `user`. */
  knows(user: string): boolean {
    return this.#byUser.has(user) || this.hasToken(user);
  }

  /** Whether it does so with a token of its own. */
  hasToken(user: string): boolean {
    if (this.defaultAuthScheme !== 'IAM_AUTH') return false;
    return !this.#byUser.has(user) && !this.#ambiguous.has(user);
  }

  /** Changes when what the proxy logs in with does. */
  versionOf(user: string): SecretIdentity | 'token' | undefined {
    return this.#byUser.get(user)?.version ?? (this.hasToken(user) ? 'token' : undefined);
  }

  /**
   * How to ask `user` for a password. A user that is not known is asked as most users are (in the
   * stronger way when in doubt), so that the question does not tell which users exist.
   */
  authTypeFor(user: string): ClientPasswordAuthType {
    const credential = this.#byUser.get(user);
    return credential?.clientPasswordAuthType ?? this.#mostCommonAuthType;
  }

  /** Whether `user` has to give a token. One that is not known is asked as most users are, as above. */
  isIam(user: string): boolean {
    return this.#byUser.get(user)?.isIam ?? (this.hasToken(user) || this.#isMostlyIam);
  }

  get #isMostlyIam(): boolean {
    let count = 0;
    for (const { isIam } of this.#byUser.values()) count += isIam ? 1 : -1;
    return count > 0;
  }

  get size(): number {
    return this.#byUser.size;
  }

  [Symbol.iterator](): IterableIterator<UserCredential> {
    return this.#byUser.values();
  }

  get #mostCommonAuthType(): ClientPasswordAuthType {
    const counts = new Map<ClientPasswordAuthType, number>();
    for (const { clientPasswordAuthType: type } of this.#byUser.values()) {
      counts.set(type, (counts.get(type) ?? 0) + 1);
    }
    let most: ClientPasswordAuthType = 'POSTGRES_SCRAM_SHA_256';
    for (const type of STRONGEST_FIRST) {
      if ((counts.get(type) ?? 0) > (counts.get(most) ?? 0)) most = type;
    }
    return most;
  }
}

/** Where two users take turns, the one whose turn is over stays good. */
function formerUsers(secret: SecretSource | undefined, auth: AuthSource): UserCredential[] {
  const others = secret?.others?.filter(({ username }) => username !== secret.username) ?? [];
  const mayChange = secret?.mayChange ?? false;
  return others.map(({ username, password }) =>
    credentialOf({ Name: auth.SecretArn, username, password, mayChange }, auth),
  );
}

function credentialOf(secret: SecretSource, auth: AuthSource): UserCredential {
  const others = secret.others?.filter(({ username }) => username === secret.username) ?? [];
  return {
    user: secret.username,
    password: secret.password,
    others: others.map(({ password, acceptedUntil }) => ({ password, acceptedUntil })),
    clientPasswordAuthType: auth.ClientPasswordAuthType,
    isIam: auth.IAMAuth === 'REQUIRED',
    mayChange: secret.mayChange ?? false,
    version: identityOf(secret.password),
  };
}

/** What a client may use at `now`, beside the current password. */
export function acceptedBeside(
  credential: Pick<UserCredential, 'others'> | undefined,
  now: number,
): readonly Secret[] {
  if (credential === undefined || credential.others.length === 0) return NONE;
  const accepted = credential.others.filter(({ acceptedUntil }) => now < acceptedUntil);
  return accepted.map(({ password }) => password);
}

const NONE: readonly Secret[] = [];

function tooManySecrets(count: number): CredentialProblem {
  return {
    kind: 'too_many_secrets',
    authIndex: SECRETS_PER_PROXY_MAX,
    text: `A proxy has at most ${SECRETS_PER_PROXY_MAX} secrets, not ${count}.`,
  };
}

function secretMissing(authIndex: number, name: string): CredentialProblem {
  return {
    kind: 'secret_missing',
    authIndex,
    text: `Credentials couldn't be retrieved. There is no secret "${name}" with a user name and a password.`,
  };
}

/** RDS Proxy's text, word for word. */
function duplicateUser(authIndex: number, user: string): CredentialProblem {
  return {
    kind: 'duplicate_user',
    authIndex,
    text: `Credentials couldn't be retrieved. The database user "${user}" was found in multiple DB proxy authentication entries`,
  };
}
