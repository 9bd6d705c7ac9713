/**
 * Secrets that others keep, in files or in AWS Secrets Manager: read every now and then, and at once when
 * somebody has seen a password refused. What was read last stays in force while it cannot be read. Nobody
 * waits for it but who asks for a refresh.
 */

import type { Observer } from '../../observe/events.ts';
import type { LoginSecret, LoginSecrets } from './lookup.ts';
import { isSame, SecretHistory } from './secret-entry.ts';

/** A secret is not read again before this has passed, whoever asks for it. */
export const REFRESH_PAUSE_MS = 2_000;

/** What a source says of a secret. */
export interface ReadSecret {
  readonly current: LoginSecret;
  /** What it is to be; only looked for when the current one was refused. */
  readonly pending?: LoginSecret | undefined;
}

/** Where a secret is. */
export interface SecretSource {
  /** Equal for what is read from the same place in the same way. */
  readonly key: string;
  readonly intervalMs: number;
  /** Rejects with an error whose message names no secret. `isRefused`: what it said last is wrong. */
  read(isRefused: boolean): Promise<ReadSecret>;
}

export interface PolledSecretsOptions {
  readonly observer: Observer;
  /** Called when a secret says something else than before; must not throw. */
  readonly changed: () => void;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

interface Entry {
  readonly name: string;
  readonly source: SecretSource;
  timer: NodeJS.Timeout | undefined;
  reading: Promise<void> | undefined;
  readAt: number;
  value: LoginSecrets | undefined;
  hasFailed: boolean;
}

export class PolledSecrets {
  private readonly options: PolledSecretsOptions;
  private readonly now: () => number;
  private readonly history = new SecretHistory();
  private readonly entries = new Map<string, Entry>();

  constructor(options: PolledSecretsOptions) {
    this.options = options;
    this.now = options.now ?? Date.now;
  }

  /** Reads these from now on, and no others. Resolves when each that is new has been read once. */
  async follow(sources: ReadonlyMap<string, SecretSource>): Promise<void> {
    for (const [name, entry] of this.entries) {
      if (sources.get(name)?.key === entry.source.key) continue;
      clearTimeout(entry.timer);
      this.entries.delete(name);
    }
    const added = [...sources].filter(([name]) => !this.entries.has(name));
    await Promise.all(added.map(([name, source]) => this.add(name, source)));
  }

  /** Undefined before it could be read. */
  find(name: string): LoginSecrets | undefined {
    return this.entries.get(name)?.value;
  }

  /** What `name` said was refused: reads it again, unless that was just done. Never rejects. */
  async refresh(name: string): Promise<void> {
    const entry = this.entries.get(name);
    if (entry === undefined) return;
    if (entry.reading !== undefined) return entry.reading;
    if (this.now() - entry.readAt >= REFRESH_PAUSE_MS) await this.read(entry, true);
  }

  stop(): void {
    for (const { timer } of this.entries.values()) clearTimeout(timer);
    this.entries.clear();
  }

  private add(name: string, source: SecretSource): Promise<void> {
    const entry: Entry = {
      name,
      source,
      timer: undefined,
      reading: undefined,
      readAt: Number.NEGATIVE_INFINITY,
      value: undefined,
      hasFailed: false,
    };
    this.entries.set(name, entry);
    return this.read(entry, false);
  }

  private read(entry: Entry, isRefused: boolean): Promise<void> {
    clearTimeout(entry.timer);
    const reading = entry.source.read(isRefused).then(
      (found) => this.took(entry, found),
      (error: unknown) => this.failed(entry, error),
    );
    entry.reading = reading.then(() => {
      entry.reading = undefined;
      entry.readAt = this.now();
      if (this.entries.get(entry.name) !== entry) return;
      entry.timer = setTimeout(() => void this.read(entry, false), entry.source.intervalMs);
      entry.timer.unref();
    });
    return entry.reading;
  }

  private took(entry: Entry, { current, pending }: ReadSecret): void {
    entry.hasFailed = false;
    if (this.entries.get(entry.name) !== entry) return;
    const last = entry.value;
    const noted = this.history.note(entry.name, current, this.now());
    const isNewPending =
      pending !== undefined && (last?.pending === undefined || !isSame(pending, last.pending));
    if (last !== undefined && noted.currentSince === last.currentSince && !isNewPending) return;
    entry.value = { ...noted, pending };
    this.options.changed();
  }

  /** Told once, until it can be read again. */
  private failed(entry: Entry, error: unknown): void {
    if (entry.hasFailed || this.entries.get(entry.name) !== entry) return;
    entry.hasFailed = true;
    const detail = error instanceof Error ? error.message : String(error);
    this.options.observer.emit({ event: 'secret.unreadable', secret: entry.name, detail });
  }
}
