/**
 * `berth serve`: runs the proxies of a configuration file, and those that its API has made, until it is told to stop. SIGTERM and
 * SIGINT drain, a second one or the deadline stops at once, SIGHUP reloads the file.
 */

import { isDeepStrictEqual } from 'node:util';
import packageJson from '../../package.json' with { type: 'json' };
import { dataPlane, managementApi } from '../compose.ts';
import {
  type ApiConfiguration,
  type Configuration,
  loadConfiguration,
  withAuthority,
  withPasswordKey,
} from '../control/config-file.ts';
import { ConfigurationError } from '../control/configuration-error.ts';
import { HttpListenError, type HttpServer, serveHttp } from '../control/http/server.ts';
import { BOOTSTRAP_USER, bootstrapPrincipal, bootstrapText } from '../control/iam/bootstrap.ts';
import { VaultReader } from '../control/secrets/lookup.ts';
import { PolledSecrets } from '../control/secrets/polled-secrets.ts';
import { Vault } from '../control/secrets/vault.ts';
import { DesiredState } from '../control/state/desired-state.ts';
import { EventJournal } from '../control/state/event-journal.ts';
import type { PrincipalRecord, SecretRecord } from '../control/state/records.ts';
import { SqliteStore } from '../control/state/sqlite-store.ts';
import { StateError, type StateStore } from '../control/state/state-store.ts';
import { ListenError } from '../net/listener.ts';
import { SEND_BATCH } from '../net/send-batch.ts';
import { EventLog, fileDescriptorSink } from '../observe/logs.ts';
import { Observers } from '../observe/observers.ts';
import type { ProxyRegistry } from '../proxy/registry.ts';
import { EXIT, type ServeOptions } from './command-line.ts';
import { IdleCollector } from './idle-collector.ts';

const STDERR = 2;
/** For databases to close their ends, before the process ends anyway. */
const CLOSE_TIMEOUT_MS = 2_000;
const FORGET_SECRETS_EVERY_MS = 3_600_000;
/** Certificates are renewed weeks before their end. */
const RENEW_EVERY_MS = 6 * 3_600_000;
/** For secrets that others keep, before it is served without them. */
const FIRST_READING_MS = 5_000;

export async function serve(options: ServeOptions): Promise<number> {
  let configuration: Configuration;
  try {
    configuration = await load(options.config);
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return EXIT.badUsage;
  }
  const log = new EventLog({
    level: options.logLevel,
    format: options.logFormat ?? (process.stderr.isTTY ? 'text' : 'json'),
    hasColor: process.stderr.isTTY,
    sink: fileDescriptorSink(STDERR),
  });
  try {
    return await new Service(options.config, configuration, log).run();
  } finally {
    await log.flush();
  }
}

/** Throws `ConfigurationError`. */
async function load(file: string, before?: Configuration): Promise<Configuration> {
  const configuration = await loadConfiguration(file, process.env);
  return await withPasswordKey(withAuthority(configuration, before?.ownTls?.authority));
}

class Service {
  private readonly file: string;
  private configuration: Configuration;
  private readonly log: EventLog;
  private readonly registry: ProxyRegistry;
  private readonly polled: PolledSecrets;
  private readonly stopWheel: () => void;
  private http: HttpServer | undefined = undefined;
  private readonly journal = new EventJournal();
  private store: StateStore | undefined = undefined;
  private vault: Vault | undefined = undefined;
  private state: DesiredState | undefined = undefined;
  private readonly stopped = Promise.withResolvers<void>();
  private forgetting: NodeJS.Timeout | undefined = undefined;
  private renewing: NodeJS.Timeout | undefined = undefined;
  /** What the file declares has been brought up. */
  private isServing = false;
  private isDraining = false;
  private isCut = false;

  constructor(file: string, configuration: Configuration, log: EventLog) {
    this.file = file;
    this.configuration = configuration;
    this.log = log;
    const observer = new Observers([log, this.journal]);
    this.polled = new PolledSecrets({ observer, changed: () => this.secretsChanged() });
    const { registry, wheel } = dataPlane(observer, (name) => this.polled.refresh(name));
    this.registry = registry;
    this.stopWheel = () => wheel.stop();
  }

  async run(): Promise<number> {
    const { version } = packageJson;
    this.log.emit({ event: 'process.started', version, pid: process.pid });
    this.startBatching();
    this.tellWarnings();
    let forget = () => {};
    try {
      const state = this.openState();
      // Who sees it serve may throw the old key of the secrets away.
      await state.flushed();
      await this.readSecrets(state);
      await this.registry.prepare(this.configuration.snapshot);
      // Who reads that it listens may signal it at once.
      forget = this.handleSignals();
      // Who wrote the file is to be told when it cannot be done; what the API made must not stop that.
      this.registry.reconcile(state.declaredSnapshot, this.configuration.drainTimeoutMs);
      this.isServing = true;
      if (state.hasOwnProxies) this.apply(state);
      this.listenForManagement(state);
      this.renewing = setInterval(() => this.renewCertificates(state), RENEW_EVERY_MS);
      this.forgetting = setInterval(
        () => this.forgetDeletedSecrets(state),
        FORGET_SECRETS_EVERY_MS,
      );
    } catch (error) {
      forget();
      const code = exitCodeOf(error);
      process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
      this.registry.stop();
      this.polled.stop();
      this.store?.close();
      this.stopWheel();
      return code;
    }
    const collector = new IdleCollector(
      () => this.registry.activity,
      () => Bun.gc(true),
    );
    collector.start();
    await this.stopped.promise;
    collector.stop();
    forget();
    clearInterval(this.forgetting);
    clearInterval(this.renewing);
    await this.http?.stop();
    this.polled.stop();
    this.store?.close();
    this.stopWheel();
    return EXIT.ok;
  }

  /** Throws `StateError`, and `ConfigurationError` when the file and the state do not go together. */
  private openState(): DesiredState {
    const { file, configuration } = this;
    const { stateDirectory: directory, secretKeys: keys } = configuration;
    const store = new SqliteStore(directory);
    this.store = store;
    const vault = new Vault({ store, directory, keys });
    this.vault = vault;
    const vaultReader = new VaultReader(vault);
    const secretReader = {
      stored: (secret: SecretRecord) => vaultReader.read(secret),
      followed: (name: string) => this.polled.find(name),
      principal: (record: PrincipalRecord) => vault.openPrincipal(record),
    };
    const apply = (state: DesiredState) => this.apply(state);
    this.state = new DesiredState({
      store,
      file,
      configuration,
      secretReader,
      journal: this.journal,
      apply,
    });
    this.state.forgetDeletedSecrets();
    this.state.keepDebugLogging();
    return this.state;
  }

  /** Those that are new have been read when it resolves, or could not be in time. */
  private async readSecrets(state: DesiredState): Promise<void> {
    const isRead = this.polled.follow(state.secretSources);
    await Promise.race([isRead, Bun.sleep(FIRST_READING_MS)]);
  }

  private secretsChanged(): void {
    const { state } = this;
    if (state !== undefined && this.isServing && !this.isDraining) this.apply(state);
  }

  /** What cannot be removed now is as good as removed, and goes the next time. */
  private forgetDeletedSecrets(state: DesiredState): void {
    try {
      state.forgetDeletedSecrets();
    } catch (error) {
      this.log.emit({ event: 'internal.failed', doing: 'remove deleted secrets', error });
    }
  }

  /** What the API has changed. An address that cannot be listened on is its user's to see. */
  private apply(state: DesiredState): void {
    try {
      void this.polled.follow(state.secretSources);
      this.reconcile(state);
    } catch (error) {
      if (!(error instanceof ListenError)) throw error;
      this.log.emit({ event: 'configuration.incomplete', detail: error.message });
    }
  }

  private startBatching(): void {
    const detail = this.configuration.mayBatchSends ? SEND_BATCH.start() : 'SendBatching is OFF';
    if (detail !== undefined) this.log.emit({ event: 'process.sends_singly', detail });
  }

  /** Who comes from then on sees the new ones; nobody is disconnected. */
  private renewCertificates(state: DesiredState): void {
    if (this.isDraining || !state.hasCertificatesToRenew(Date.now())) return;
    this.configuration = withAuthority(this.configuration, this.configuration.ownTls?.authority);
    state.renew(this.configuration);
    this.apply(state);
  }

  private tellWarnings(): void {
    for (const detail of this.configuration.warnings) {
      this.log.emit({ event: 'configuration.doubted', detail });
    }
  }

  private reconcile(state: DesiredState): void {
    const { drainTimeoutMs } = this.configuration;
    this.registry.reconcile(state.snapshot, drainTimeoutMs, (index) => state.placeOf(index));
  }

  private listenForManagement(state: DesiredState): void {
    const { api } = this.configuration;
    if (api === undefined) return;
    const { version } = packageJson;
    const { registry, log: observer, vault } = this;
    if (vault !== undefined) this.bootstrap(state, vault, api);
    const access = () => ({
      allowAnonymous: (this.configuration.api ?? api).allowAnonymous,
      principals: state.principals,
    });
    const aws = vault && { state, vault, access };
    const management = { registry, observer, version, allowAnonymous: api.allowAnonymous, aws };
    this.http = serveHttp(managementApi(management), api.listen);
    const { host, port } = this.http.address;
    this.log.emit({ event: 'api.listening', address: `${host}:${port}` });
  }

  /** Without a key that is kept nobody may use the API; what else is served is served all the same. */
  private bootstrap(state: DesiredState, vault: Vault, { allowAnonymous }: ApiConfiguration): void {
    if (allowAnonymous || !state.principals.isEmpty) return;
    const principal = bootstrapPrincipal();
    try {
      state.commit({ put: vault.sealPrincipal(BOOTSTRAP_USER, principal, new Date()) });
      process.stdout.write(bootstrapText(principal));
    } catch (error) {
      if (!(error instanceof StateError)) throw error;
      const detail = `nobody may use the management API: there are no Principals, and none can be made. ${error.message}`;
      this.log.emit({ event: 'configuration.doubted', detail });
    }
  }

  private handleSignals(): () => void {
    // A broken invariant of something that all clients share. To go on could give one client's data
    // to another.
    const broken = (error: unknown) => {
      this.log.emit({ event: 'internal.failed', doing: 'serve', error });
      void this.log.flush().then(() => process.exit(EXIT.failed));
    };
    const handlers = {
      uncaughtException: broken,
      unhandledRejection: broken,
      SIGTERM: () => this.stop('SIGTERM'),
      SIGINT: () => this.stop('SIGINT'),
      SIGHUP: () => void this.reload(),
    };
    for (const [signal, handler] of Object.entries(handlers)) process.on(signal, handler);
    return () => {
      for (const [signal, handler] of Object.entries(handlers)) process.off(signal, handler);
    };
  }

  private stop(signal: string): void {
    if (this.isCut) {
      this.stopped.resolve();
      return;
    }
    if (this.isDraining) {
      this.cut();
      return;
    }
    this.isDraining = true;
    // The next process may take over while this one lets its clients finish.
    this.store?.close();
    const { drainTimeoutMs } = this.configuration;
    const clients = this.registry.clientCount;
    const event = 'process.draining';
    this.log.emit({ event, signal, clients, deadlineMs: drainTimeoutMs });
    const deadline = setTimeout(() => this.cut(), drainTimeoutMs);
    void this.registry.drain().then(() => {
      clearTimeout(deadline);
      this.cut();
    });
  }

  /** At the end of the drain, at its deadline or at a second signal, whichever comes first. */
  private cut(): void {
    if (this.isCut) return;
    this.isCut = true;
    const { clientsCut, closed } = this.registry.stop();
    this.log.emit({ event: 'process.stopped', clientsCut });
    // What still runs in a database is being cancelled; nobody else would end it.
    void Promise.race([closed, Bun.sleep(CLOSE_TIMEOUT_MS)]).then(() => this.stopped.resolve());
  }

  private async reload(): Promise<void> {
    if (this.isDraining) return;
    try {
      const configuration = await load(this.file, this.configuration);
      await this.registry.prepare(configuration.snapshot);
      // It may have been told to stop meanwhile.
      const { state } = this;
      if (this.isDraining || state === undefined) return;
      this.vault?.use(configuration.secretKeys);
      // Who reads that it was applied may throw the old key away.
      await state.flushed();
      if (this.isDraining) return;
      state.declare(this.file, configuration);
      const isApiMoved = !isDeepStrictEqual(placeOf(configuration), placeOf(this.configuration));
      this.configuration = configuration;
      this.tellWarnings();
      await this.readSecrets(state);
      if (this.isDraining) return;
      this.reconcile(state);
      if (!isApiMoved) return;
      await this.http?.stop();
      this.http = undefined;
      this.listenForManagement(state);
    } catch (error) {
      const isAddressTaken = error instanceof ListenError || error instanceof HttpListenError;
      if (error instanceof ConfigurationError || error instanceof StateError)
        this.log.emit({ event: 'configuration.refused', detail: error.message });
      else if (isAddressTaken)
        this.log.emit({ event: 'configuration.incomplete', detail: error.message });
      else this.log.emit({ event: 'internal.failed', doing: 'reload the configuration', error });
    }
  }
}

/** What the API has to be opened anew for; the rest of its settings is read at each request. */
function placeOf({ api }: Configuration): unknown {
  return api && { listen: api.listen, allowAnonymous: api.allowAnonymous };
}

/** Of what keeps `serve` from starting, and is told to whoever started it. */
function exitCodeOf(error: unknown): number {
  if (error instanceof ConfigurationError) return EXIT.badUsage;
  const isToldShortly =
    error instanceof ListenError || error instanceof HttpListenError || error instanceof StateError;
  if (isToldShortly) return EXIT.failed;
  throw error;
}
