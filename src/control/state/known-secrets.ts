/**
 * The secrets of desired state: those of the file, those that the API has made, and those that are kept
 * elsewhere. Which one a proxy means, and what it holds.
 */

import { isDeepStrictEqual } from 'node:util';
import type { DBProxy, SecretEntry } from '../../proxy/snapshot.ts';
import type { Configuration } from '../config-file.ts';
import type { Principal } from '../schema.ts';
import { matchesArn, secretArn } from '../secret-arn.ts';
import { AwsSecrets } from '../secrets/aws-source.ts';
import { fileSource } from '../secrets/file-source.ts';
import type { LoginSecrets } from '../secrets/lookup.ts';
import type { SecretSource } from '../secrets/polled-secrets.ts';
import { SecretHistory, toSecretEntry } from '../secrets/secret-entry.ts';
import { declaredSecret } from './declared.ts';
import type { Known } from './desired-state.ts';
import type { PrincipalRecord, SecretRecord } from './records.ts';
import type { StateStore } from './state-store.ts';

/** What secrets hold. */
export interface SecretReader {
  /** Of the embedded store; undefined when it holds nothing for a log-in, or is deleted. */
  stored(secret: SecretRecord): LoginSecrets | undefined;
  /** Of a source that is followed; undefined when it could not be read yet. */
  followed(name: string): LoginSecrets | undefined;
  /** With its keys; undefined when it cannot be opened. */
  principal(record: PrincipalRecord): Principal | undefined;
}

export class KnownSecrets {
  private readonly store: StateStore;
  private readonly reader: SecretReader;
  private readonly history = new SecretHistory();
  private configuration: Configuration;
  private aws: AwsSecrets | undefined;

  constructor(store: StateStore, reader: SecretReader, configuration: Configuration) {
    this.store = store;
    this.reader = reader;
    this.configuration = configuration;
    this.aws = awsOf(configuration);
  }

  declare(configuration: Configuration): void {
    const { secretsManager } = this.configuration;
    if (!isDeepStrictEqual(secretsManager, configuration.secretsManager)) {
      this.aws = awsOf(configuration);
    }
    this.configuration = configuration;
  }

  /** With those that are deleted and can be restored. */
  get all(): readonly Known<SecretRecord>[] {
    const declared = declaredNames(this.configuration).map(knownDeclared);
    return [...declared, ...this.ofApi.map(knownStored)];
  }

  /** By its name or its ARN. */
  find(nameOrArn: string): Known<SecretRecord> | undefined {
    const { owner } = this.configuration;
    const stored = this.ofApi.find(
      ({ id, name }) =>
        nameOrArn === name ||
        nameOrArn === secretArn(owner, id) ||
        nameOrArn === secretArn(owner, name),
    );
    if (stored !== undefined) return knownStored(stored);
    const declared = this.declaredName(nameOrArn);
    return declared === undefined ? undefined : knownDeclared(declared);
  }

  /** The name of the secret of the file that is meant; undefined when it is none of the file. */
  declaredName(nameOrArn: string): string | undefined {
    const { owner } = this.configuration;
    return declaredNames(this.configuration).find((name) => matchesArn(name, nameOrArn, owner));
  }

  /** Those whose time to be restored has passed. */
  get forgotten(): readonly SecretRecord[] {
    return this.records.filter(isForgotten);
  }

  /** Those of the file, and all others that one of the proxies names. */
  entriesFor(proxies: readonly DBProxy[]): readonly SecretEntry[] {
    const { snapshot, secretFiles } = this.configuration;
    const now = Date.now();
    const declared = snapshot.Secrets.map(({ Name, username, password }) =>
      toSecretEntry(Name, this.history.note(Name, { username, password }, now)),
    );
    const others = [...secretFiles.keys(), ...this.othersOf(proxies)].flatMap((name) => {
      const held = this.heldBy(name);
      return held === undefined ? [] : [{ ...toSecretEntry(name, held), mayChange: true }];
    });
    return [...declared, ...others];
  }

  /** What is to be followed, by the names that entries have. */
  sourcesFor(proxies: readonly DBProxy[]): ReadonlyMap<string, SecretSource> {
    const sources = new Map<string, SecretSource>();
    for (const [name, path] of this.configuration.secretFiles) sources.set(name, fileSource(path));
    const { aws } = this;
    if (aws === undefined) return sources;
    for (const name of this.othersOf(proxies)) {
      if (this.find(name) === undefined) sources.set(name, aws.sourceOf(name));
    }
    return sources;
  }

  /** What `configuration` has and the API has made as well. */
  clashesWith(configuration: Configuration): readonly string[] {
    const names = new Set(declaredNames(configuration));
    return this.ofApi.map(({ name }) => name).filter((name) => names.has(name));
  }

  private heldBy(nameOrArn: string): LoginSecrets | undefined {
    const known = this.find(nameOrArn);
    if (known === undefined || known.isDeclared) return this.reader.followed(nameOrArn);
    return this.reader.stored(known.record);
  }

  /** What proxies name that is not in the file. */
  private othersOf(proxies: readonly DBProxy[]): ReadonlySet<string> {
    const declared = new Set(declaredNames(this.configuration));
    const named = proxies.flatMap(({ Auth }) => Auth.map(({ SecretArn }) => SecretArn));
    return new Set(named.filter((name) => !declared.has(name)));
  }

  private get ofApi(): readonly SecretRecord[] {
    return this.records.filter((record) => !isForgotten(record));
  }

  private get records(): readonly SecretRecord[] {
    return this.store.records.filter((record) => record.kind === 'secret');
  }
}

function awsOf({ secretsManager }: Configuration): AwsSecrets | undefined {
  return secretsManager && new AwsSecrets(secretsManager);
}

function declaredNames({ snapshot, secretFiles }: Configuration): readonly string[] {
  return [...snapshot.Secrets.map(({ Name }) => Name), ...secretFiles.keys()];
}

function knownDeclared(name: string): Known<SecretRecord> {
  return { record: declaredSecret(name), isDeclared: true };
}

function knownStored(record: SecretRecord): Known<SecretRecord> {
  return { record, isDeclared: false };
}

function isForgotten({ deleteAfter }: SecretRecord): boolean {
  return deleteAfter !== undefined && Date.parse(deleteAfter) <= Date.now();
}
