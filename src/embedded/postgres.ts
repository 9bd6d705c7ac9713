/**
 * A real PostgreSQL that is thrown away afterwards: for `berth demo` and for the tests. It listens
 * on a free port of 127.0.0.1 and on a Unix socket, without TLS unless given a certificate, with
 * durability off. All its files are in one temporary folder, which is removed by `stop`, and also when
 * our process ends without calling it (see keeper.ts).
 */

import { mkdirSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { chooseAccount, cleanEnvironment, giveTo } from './account.ts';
import {
  type Authentication,
  createDataDirectory,
  type EmbeddedDatabase,
  type EmbeddedTls,
  type EmbeddedUser,
  hbaText,
  type Settings,
  settingsText,
  writeDataFile,
} from './data-directory.ts';
import { makeServerFolder, removeServerFolder } from './folder.ts';
import { type Installation, locateInstallation } from './installation.ts';
import { type Keeper, keepFolder } from './keeper.ts';
import { DatabaseLog, ServerProcess, startOnFreePort } from './server-process.ts';

export type {
  Authentication,
  EmbeddedDatabase,
  EmbeddedTls,
  EmbeddedUser,
  Settings,
} from './data-directory.ts';

/** `smart` waits for clients, `fast` disconnects them, `immediate` does not even write a checkpoint. */
export type StopMode = 'smart' | 'fast' | 'immediate';

const STOP_SIGNALS = { smart: 'SIGTERM', fast: 'SIGINT', immediate: 'SIGQUIT' } as const;

export interface EmbeddedPostgresOptions {
  /** Folder of `initdb` and `postgres`. Default: PostgreSQL 18 from the npm package. */
  readonly binDirectory?: string;
  /** Settings of postgresql.conf, over our defaults. */
  readonly settings?: Settings;
  readonly users?: readonly EmbeddedUser[];
  readonly databases?: readonly EmbeddedDatabase[];
  readonly authentication?: Authentication;
  readonly tls?: EmbeddedTls;
  /** It is a replica of the server that the setting `primary_conninfo` names, whose template was the same. */
  readonly isStandby?: boolean;
  /** A folder for finished data directories, shared by several starts. Default: none is kept. */
  readonly templateDirectory?: string;
  /** For the start, and for a shutdown. Default: 30 s. */
  readonly deadlineMs?: number;
}

const DEFAULT_SETTINGS: Settings = {
  fsync: false,
  full_page_writes: false,
  synchronous_commit: false,
  listen_addresses: '127.0.0.1',
  unix_socket_permissions: '0777',
  log_destination: 'stderr',
  logging_collector: false,
  log_line_prefix: '%m [%p] %q%u@%d ',
  timezone: 'UTC',
  log_timezone: 'UTC',
};

const DEFAULT_DEADLINE_MS = 30_000;

/** A standby accepts connections that only read. */
const READY = /database system is ready to accept (read[ -]only )?connections/;

export class EmbeddedPostgres {
  readonly installation: Installation;
  /** Everything is in here. */
  readonly folder: string;
  readonly dataDirectory: string;
  readonly socketDirectory: string;
  readonly #options: EmbeddedPostgresOptions;
  readonly #keeper: Keeper;
  readonly #log = new DatabaseLog();
  readonly #deadlineMs: number;
  #settings: Settings;
  #port = 0;
  #postmaster: ServerProcess | undefined;

  private constructor(
    installation: Installation,
    folder: string,
    keeper: Keeper,
    options: EmbeddedPostgresOptions,
  ) {
    this.installation = installation;
    this.folder = folder;
    this.dataDirectory = join(folder, 'data');
    this.socketDirectory = join(folder, 'socket');
    this.#keeper = keeper;
    this.#options = options;
    this.#deadlineMs = options.deadlineMs ?? DEFAULT_DEADLINE_MS;
    this.#settings = { ...DEFAULT_SETTINGS, ...tlsSettings(options.tls), ...options.settings };
  }

  /** Makes a database and starts it. Resolves when it accepts connections. */
  static async start(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
    const folder = await makeServerFolder(chooseAccount(), 'berth-postgres-');
    const keeper = keepFolder(folder);
    try {
      const installation = await locateInstallation(
        options.templateDirectory ?? folder,
        options.binDirectory,
      );
      const database = new EmbeddedPostgres(installation, folder, keeper, options);
      await database.#create();
      await database.#startOnFreePort();
      return database;
    } catch (error) {
      removeServerFolder(folder, keeper);
      throw error;
    }
  }

  get port(): number {
    return this.#port;
  }

  /** `18.4` */
  get version(): string {
    return this.installation.version;
  }

  /** The process id of the postmaster. */
  get pid(): number {
    return this.#running().pid;
  }

  get isRunning(): boolean {
    return this.#postmaster?.isRunning ?? false;
  }

  /** What PostgreSQL wrote to its log, over all restarts. */
  get log(): string {
    return this.#log.text;
  }

  /** Resolves when the running postmaster has ended, for whatever reason. */
  get exited(): Promise<void> {
    return this.#running().exited;
  }

  /** A connection URL over TCP. Default: the superuser, and the database named like the user if there is one. */
  url(user = 'postgres', database = this.#databaseOf(user)): string {
    const password = this.#options.users?.find((entry) => entry.name === user)?.password;
    const url = new URL(`postgresql://127.0.0.1:${this.#port}/`);
    url.username = encodeURIComponent(user);
    if (password !== undefined) url.password = encodeURIComponent(password);
    url.pathname = `/${encodeURIComponent(database)}`;
    return url.href;
  }

  /** Resolves with the next line of the log that contains the text or matches the pattern. */
  nextLogLine(pattern: string | RegExp, deadlineMs = this.#deadlineMs): Promise<string> {
    return this.#log.next(pattern, deadlineMs);
  }

  /** Shuts the database down and removes its files. */
  async stop(mode: StopMode = 'immediate'): Promise<void> {
    await this.shutDown(mode);
    removeServerFolder(this.folder, this.#keeper);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Shuts the database down and keeps its files, so that `startUp` can follow. */
  async shutDown(mode: StopMode = 'fast'): Promise<void> {
    await this.#postmaster?.stop(STOP_SIGNALS[mode], this.#deadlineMs);
  }

  /** Starts a database that was shut down or killed, on the same port and data. */
  async startUp(): Promise<void> {
    if (this.isRunning) throw new Error('the database is running');
    this.#postmaster = await this.#launch(this.#port);
  }

  async restart(mode: StopMode = 'fast'): Promise<void> {
    await this.shutDown(mode);
    await this.startUp();
  }

  /** Replaces the data of a database that does not run by what it was made with, and starts it on the same port. */
  async startAfresh({ isStandby }: { readonly isStandby: boolean }): Promise<void> {
    if (this.isRunning) throw new Error('the database is running');
    await rm(this.dataDirectory, { recursive: true, force: true, maxRetries: 3 });
    await this.#createData();
    if (isStandby) this.becomeStandby();
    await this.startUp();
  }

  /** The next start is a replica of the server that `primary_conninfo` names. */
  becomeStandby(): void {
    this.#writeFile('standby.signal', '');
  }

  /** Makes the running database read its files again. */
  async reload(): Promise<void> {
    const reloaded = this.#log.next('received SIGHUP', this.#deadlineMs);
    this.kill('SIGHUP');
    await reloaded;
  }

  /** Adds to the settings and reloads. Some settings only take effect at the next `restart`. */
  async configure(settings: Settings): Promise<void> {
    this.#settings = { ...this.#settings, ...settings };
    this.#writeSettings();
    if (this.isRunning) await this.reload();
  }

  /** Sends a signal to the postmaster. */
  kill(signal: NodeJS.Signals): void {
    this.#running().signal(signal);
  }

  /** Sends a signal to the postmaster and to all its processes. Linux only. */
  killAll(signal: NodeJS.Signals): void {
    this.#running().signalAll(signal);
  }

  #running(): ServerProcess {
    if (this.#postmaster === undefined) throw new Error('the database was never started');
    return this.#postmaster;
  }

  #databaseOf(user: string): string {
    const isThere = this.#options.databases?.some((database) => database.name === user);
    return isThere ? user : (this.#options.databases?.[0]?.name ?? 'postgres');
  }

  async #create(): Promise<void> {
    mkdirSync(this.socketDirectory, { mode: 0o755 });
    giveTo(this.installation.account, this.socketDirectory);
    await this.#createData();
    if (this.#options.isStandby === true) this.becomeStandby();
  }

  async #createData(): Promise<void> {
    const { users = [], databases = [], authentication = {}, tls } = this.#options;
    const { installation, dataDirectory } = this;
    const templateDirectory = this.#options.templateDirectory;
    await createDataDirectory({ installation, dataDirectory, templateDirectory, users, databases });
    this.#writeFile('pg_hba.conf', hbaText(users, authentication));
    this.#writeFile('postgresql.conf', "include 'embedded.conf'\n");
    this.#writeSettings();
    if (tls !== undefined) {
      this.#writeFile('server.crt', tls.certificate);
      this.#writeFile('server.key', tls.privateKey);
      if (tls.clientCa !== undefined) this.#writeFile('clients.crt', tls.clientCa);
    }
  }

  #writeFile(name: string, text: string): void {
    writeDataFile(this.installation, this.dataDirectory, name, text);
  }

  #writeSettings(): void {
    this.#writeFile('embedded.conf', settingsText(this.#settings));
  }

  async #startOnFreePort(): Promise<void> {
    const { port, server } = await startOnFreePort((free) => this.#launch(free), isPortTaken);
    this.#postmaster = server;
    this.#port = port;
  }

  #launch(port: number): Promise<ServerProcess> {
    const { installation, dataDirectory, socketDirectory } = this;
    const postgres = join(installation.binDirectory, 'postgres');
    return ServerProcess.start(
      {
        product: 'PostgreSQL',
        command: [postgres, '-D', dataDirectory, '-p', String(port), '-k', socketDirectory],
        account: installation.account,
        environment: cleanEnvironment(dataDirectory),
        ready: READY,
      },
      { log: this.#log, deadlineMs: this.#deadlineMs },
    );
  }
}

function isPortTaken(log: string): boolean {
  return log.includes('could not bind') && log.includes('in use');
}

function tlsSettings(tls: EmbeddedTls | undefined): Settings {
  if (tls === undefined) return {};
  const files = { ssl_cert_file: 'server.crt', ssl_key_file: 'server.key' };
  return { ssl: true, ...files, ...(tls.clientCa ? { ssl_ca_file: 'clients.crt' } : {}) };
}
