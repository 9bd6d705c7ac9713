/**
 * A real MariaDB or MySQL that lives only as long as we do: for `berth demo` and for the tests. It
 * listens on a free port of 127.0.0.1 and on a Unix socket, without TLS unless given a certificate, with
 * durability off. `root` has no password and may come by the Unix socket only. All its files are in one
 * temporary folder, which is removed by `stop`, and also when our process ends without calling it (see keeper.ts).
 */

import { writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { cleanEnvironment, giveTo } from './account.ts';
import { makeServerFolder, removeServerFolder } from './folder.ts';
import { type Keeper, keepFolder } from './keeper.ts';
import {
  contentsLines,
  createMysqlDataDirectory,
  type MysqlSettings,
  type MysqlUser,
  serverCommand,
} from './mysql-data-directory.ts';
import type { MysqlInstallation, MysqlProduct } from './mysql-installation.ts';
import { DatabaseLog, ServerProcess, startOnFreePort } from './server-process.ts';

export type { MysqlAuthPlugin, MysqlSettings, MysqlUser } from './mysql-data-directory.ts';
export type { MysqlInstallation, MysqlProduct } from './mysql-installation.ts';

/** PEM texts. */
export interface MysqlTls {
  readonly certificate: string;
  readonly privateKey: string;
  /** Who vouches for clients. */
  readonly clientCa?: string;
}

export interface EmbeddedMysqlOptions {
  readonly installation: MysqlInstallation;
  /** System variables, over our defaults: `{ max_connections: 10, sql_mode: 'ANSI' }`. */
  readonly settings?: MysqlSettings;
  readonly users?: readonly MysqlUser[];
  readonly databases?: readonly string[];
  /** Without it the server has no TLS. */
  readonly tls?: MysqlTls;
  /** SQL for the first start, one statement each, after the users and databases. */
  readonly statements?: readonly string[];
  /** A folder for finished data directories, shared by several starts. Default: none is kept. */
  readonly templateDirectory?: string;
  /** For the start, and for a shutdown. Default: 30 s. */
  readonly deadlineMs?: number;
}

/** `fast` ends the clients and writes what is to be written, `immediate` is SIGKILL. */
export type MysqlStopMode = 'fast' | 'immediate';

const STOP_SIGNALS = { fast: 'SIGTERM', immediate: 'SIGKILL' } as const;

const DEFAULT_DEADLINE_MS = 30_000;

const DEFAULT_SETTINGS: MysqlSettings = {
  bind_address: '127.0.0.1',
  skip_name_resolve: true,
  default_time_zone: '+00:00',
  local_infile: true,
  performance_schema: true,
};

/** What only one of the products knows, or has otherwise by default. */
const PRODUCT_SETTINGS: Readonly<Record<MysqlProduct, MysqlSettings>> = {
  MariaDB: {
    // Its tables of connections and their attributes, and nothing that costs more.
    performance_schema_max_statement_classes: 0,
    character_set_server: 'utf8mb4',
  },
  // The X protocol's port would be a second one to find; the folder for files does not exist.
  MySQL: { mysqlx: false, disable_log_bin: true, secure_file_priv: 'NULL' },
};

/** How a server without a certificate is kept from having TLS all the same. */
const WITHOUT_TLS: Readonly<Record<MysqlProduct, MysqlSettings>> = {
  MariaDB: { ssl: false },
  MySQL: { tls_version: '' },
};

export class EmbeddedMysql {
  readonly installation: MysqlInstallation;
  /** Everything is in here. */
  readonly folder: string;
  readonly dataDirectory: string;
  /** The Unix socket. */
  readonly socketPath: string;
  readonly #options: EmbeddedMysqlOptions;
  readonly #keeper: Keeper;
  readonly #log = new DatabaseLog();
  readonly #deadlineMs: number;
  #settings: MysqlSettings;
  #port = 0;
  #server: ServerProcess | undefined;

  private constructor(folder: string, keeper: Keeper, options: EmbeddedMysqlOptions) {
    const { installation, tls, deadlineMs = DEFAULT_DEADLINE_MS } = options;
    this.installation = installation;
    this.folder = folder;
    this.dataDirectory = join(folder, 'data');
    this.socketPath = join(folder, 'mysql.sock');
    this.#keeper = keeper;
    this.#options = options;
    this.#deadlineMs = deadlineMs;
    this.#settings = {
      ...DEFAULT_SETTINGS,
      ...PRODUCT_SETTINGS[installation.product],
      ...(tls === undefined ? WITHOUT_TLS[installation.product] : this.#tlsSettings(tls)),
      ...options.settings,
    };
  }

  /** Makes a database and starts it. Resolves when it accepts connections. */
  static async start(options: EmbeddedMysqlOptions): Promise<EmbeddedMysql> {
    const folder = await makeServerFolder(options.installation.account, 'berth-mysql-');
    const keeper = keepFolder(folder);
    try {
      const database = new EmbeddedMysql(folder, keeper, options);
      await database.#create();
      await database.#startOnFreePort();
      return database;
    } catch (error) {
      removeServerFolder(folder, keeper);
      throw error;
    }
  }

  get product(): MysqlProduct {
    return this.installation.product;
  }

  /** As the server says it. */
  get version(): string {
    return this.installation.version;
  }

  get port(): number {
    return this.#port;
  }

  get pid(): number {
    return this.#running().pid;
  }

  get isRunning(): boolean {
    return this.#server?.isRunning ?? false;
  }

  /** What the server wrote to its error log, over all restarts. */
  get log(): string {
    return this.#log.text;
  }

  /** Resolves when the running server has ended, for whatever reason. */
  get exited(): Promise<void> {
    return this.#running().exited;
  }

  /** Resolves with the next line of the log that contains the text or matches the pattern. */
  nextLogLine(pattern: string | RegExp, deadlineMs = this.#deadlineMs): Promise<string> {
    return this.#log.next(pattern, deadlineMs);
  }

  /** Shuts the database down and removes its files. */
  async stop(mode: MysqlStopMode = 'immediate'): Promise<void> {
    await this.shutDown(mode);
    removeServerFolder(this.folder, this.#keeper);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Shuts the database down and keeps its files, so that `startUp` can follow. */
  async shutDown(mode: MysqlStopMode = 'fast'): Promise<void> {
    await this.#server?.stop(STOP_SIGNALS[mode], this.#deadlineMs);
    this.#keeper.watch(undefined);
  }

  /** Starts a database that was shut down or killed, on the same port and data, perhaps with other settings. */
  async startUp(settings: MysqlSettings = {}): Promise<void> {
    if (this.isRunning) throw new Error('the database is running');
    this.#settings = { ...this.#settings, ...settings };
    this.#server = await this.#launch(this.#port, []);
  }

  async restart(mode: MysqlStopMode = 'fast', settings: MysqlSettings = {}): Promise<void> {
    await this.shutDown(mode);
    await this.startUp(settings);
  }

  /** Replaces the data of a server that does not run by what it was made with, and starts it on the same port. */
  async startAfresh(settings: MysqlSettings = {}): Promise<void> {
    if (this.isRunning) throw new Error('the database is running');
    this.#settings = { ...this.#settings, ...settings };
    await rm(this.dataDirectory, { recursive: true, force: true, maxRetries: 3 });
    await this.#create();
    await this.#startFirst(() => this.#launch(this.#port, this.#firstStart()));
  }

  /** Sends a signal to the server's process. */
  kill(signal: NodeJS.Signals): void {
    this.#running().signal(signal);
  }

  /** Replaces the certificate's files; `FLUSH SSL` or `ALTER INSTANCE RELOAD TLS` makes the server read them. */
  writeTls(tls: MysqlTls): void {
    this.#writeFile('server.crt', tls.certificate);
    this.#writeFile('server.key', tls.privateKey);
    if (tls.clientCa !== undefined) this.#writeFile('clients.crt', tls.clientCa);
  }

  /** As `kill`: it has no other processes. */
  killAll(signal: NodeJS.Signals): void {
    this.kill(signal);
  }

  #running(): ServerProcess {
    if (this.#server === undefined) throw new Error('the database was never started');
    return this.#server;
  }

  async #create(): Promise<void> {
    const { installation, templateDirectory, tls } = this.#options;
    const { dataDirectory } = this;
    await createMysqlDataDirectory({ installation, dataDirectory, templateDirectory });
    this.#writeFile('first-start.sql', `${this.#firstStatements().join('\n')}\n`);
    if (tls !== undefined) this.writeTls(tls);
  }

  #firstStatements(): string[] {
    const { users = [], databases = [], statements = [] } = this.#options;
    return [
      // What a server was made with is not for its replicas, which were made in the same way.
      'SET sql_log_bin = 0;',
      ...contentsLines(this.product, users, databases),
      ...statements.map((sql) => `${sql};`),
    ];
  }

  #writeFile(name: string, text: string): void {
    const path = join(this.folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    giveTo(this.installation.account, path);
  }

  #tlsSettings(tls: MysqlTls): MysqlSettings {
    const files = {
      ssl_cert: join(this.folder, 'server.crt'),
      ssl_key: join(this.folder, 'server.key'),
    };
    return tls.clientCa === undefined
      ? files
      : { ...files, ssl_ca: join(this.folder, 'clients.crt') };
  }

  #firstStart(): string[] {
    return [`--init-file=${join(this.folder, 'first-start.sql')}`];
  }

  async #startOnFreePort(): Promise<void> {
    await this.#startFirst(async () => {
      const { port, server } = await startOnFreePort(
        (free) => this.#launch(free, this.#firstStart()),
        (log) => log.includes('Bind on TCP/IP port'),
      );
      this.#port = port;
      return server;
    });
  }

  async #startFirst(start: () => Promise<ServerProcess>): Promise<void> {
    const { length } = this.log;
    this.#server = await start();
    // A statement that fails there is only logged.
    const problem = /^.*\bERROR\b.*$/m.exec(this.log.slice(length))?.[0];
    if (problem === undefined) return;
    await this.shutDown('immediate');
    throw new Error(`the first statements of ${this.product} failed: ${problem}`);
  }

  #launch(port: number, more: readonly string[]): Promise<ServerProcess> {
    const { installation, dataDirectory, folder } = this;
    const command = [
      ...serverCommand(installation, dataDirectory),
      `--tmpdir=${folder}`,
      `--port=${port}`,
      `--socket=${this.socketPath}`,
      `--pid-file=${join(folder, 'server.pid')}`,
      ...settingsArguments(this.#settings),
      ...more,
    ] as const;
    const [file, ...args] = command;
    return ServerProcess.start(
      {
        product: installation.product,
        command: [file, ...args],
        account: installation.account,
        environment: cleanEnvironment(folder),
        ready: 'ready for connections',
      },
      {
        log: this.#log,
        deadlineMs: this.#deadlineMs,
        onSpawn: (pid) => this.#keeper.watch(pid),
      },
    );
  }
}

function settingsArguments(settings: MysqlSettings): string[] {
  return Object.entries(settings).map(([name, value]) => {
    const text = typeof value === 'boolean' ? (value ? 'ON' : 'OFF') : String(value);
    return `--${name.replaceAll('_', '-')}=${text}`;
  });
}
