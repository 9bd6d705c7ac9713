/**
 * `berth demo`: a real PostgreSQL, then the same clients twice, straight to it and through Berth,
 * and what came of it side by side. Then Berth goes on serving until it is told to stop, unless
 * `--exit` was given. Whatever happens, nothing is left behind: what was started is in one stack,
 * and is taken down in reverse.
 */

import { randomBytes } from 'node:crypto';
import packageJson from '../../package.json' with { type: 'json' };
import { EmbeddedPostgres } from '../embedded/postgres.ts';
import type { Observer } from '../observe/events.ts';
import { EventLog, fileDescriptorSink } from '../observe/logs.ts';
import { type DemoOptions, EXIT } from './command-line.ts';
import { Bank } from './demo/bank.ts';
import { DemoBerth } from './demo/berth.ts';
import { ClientProcess } from './demo/client-process.ts';
import { Interruption } from './demo/interruption.ts';
import { BANK, LIMITS, WAVES } from './demo/plan.ts';
import { liveProgress } from './demo/progress.ts';
import { type Moment, type RunParts, type RunResult, run } from './demo/run.ts';
import { Screen } from './demo/screen.ts';
import { summaryLines } from './demo/summary.ts';
import { formatCount, formatNumber, formatSeconds } from './demo/text.ts';
import { UsageMeter } from './demo/usage.ts';
import { type Findings, problemsOf } from './demo/verdict.ts';

const STDERR = 2;
const PASSWORD_BYTES = 9;
/** That everything ends now is no news. */
const SILENT: Observer = { emit: () => undefined };
const LOG_LINES_SHOWN = 10;
/** The same clients come every time, and to both. */
const SEED = 20_260_101;

export async function demo(options: DemoOptions): Promise<number> {
  using interruption = new Interruption();
  using screen = new Screen(process.stdout, process.env);
  try {
    return await new Demo(screen, interruption).run(options);
  } catch (error) {
    // What failed then was cut short, unless it is the cleaning up.
    if (interruption.isAsked && !(error instanceof SuppressedError)) {
      screen.print('', 'Stopped before the end. Everything that was started is gone.');
      return EXIT.failed;
    }
    screen.erase();
    process.stderr.write(`berth demo: ${messageOf(error)}\n`);
    return EXIT.failed;
  }
}

class Demo {
  private readonly screen: Screen;
  private readonly interruption: Interruption;
  private readonly password = randomBytes(PASSWORD_BYTES).toString('base64url');

  constructor(screen: Screen, interruption: Interruption) {
    this.screen = screen;
    this.interruption = interruption;
  }

  async run({ exit }: DemoOptions): Promise<number> {
    await using started = new AsyncDisposableStack();
    const { paint } = this.screen;
    this.screen.print('', paint('bold', `Berth ${packageJson.version}, a demonstration`), '');
    const postgres = await this.startPostgres();
    started.use(postgres);
    void postgres.exited.then(() => this.interruption.abort(endedEarly(postgres)));
    this.interruption.signal.throwIfAborted();
    const bank = started.use(await Bank.open(postgres));
    const clients = started.use(new ClientProcess());
    const direct = await this.runDirect(postgres, { bank, clients });
    const berth = started.use(DemoBerth.start(postgres, this.password, packageJson.version));
    const findings = await this.runThrough(berth, { bank, clients }, direct);
    await clients[Symbol.asyncDispose]();

    this.screen.print(...summaryLines(findings, paint), '');
    const exitCode = problemsOf(findings).length === 0 ? EXIT.ok : EXIT.failed;
    if (!exit) await this.serve(berth);
    const { folder } = postgres;
    await started.disposeAsync();
    this.screen.print(`Stopped. PostgreSQL is gone, and so is ${folder}.`, '');
    return exitCode;
  }

  private async startPostgres(): Promise<EmbeddedPostgres> {
    const { screen } = this;
    screen.announce('Starting PostgreSQL ...');
    const startedAt = performance.now();
    const postgres = await EmbeddedPostgres.start({
      users: [{ name: BANK.user, password: this.password }],
      databases: [{ name: BANK.database }],
      authentication: { hostnossl: 'scram-sha-256', local: 'reject' },
      settings: { max_connections: LIMITS.databaseConnections },
    }).catch((cause: unknown) => {
      throw new Error(`PostgreSQL could not be started: ${messageOf(cause)}`, { cause });
    });
    const { version, port, folder } = postgres;
    const took = formatSeconds(performance.now() - startedAt);
    screen.print(
      `PostgreSQL ${version}  a real one, started for this in ${took}, on 127.0.0.1:${port};`,
      `                 it allows ${LIMITS.databaseConnections} connections, as PostgreSQL does by default`,
      `its data         ${folder}, removed at the end`,
      `the clients      ${WAVES.count} waves of ${WAVES.clients}: each connects, moves money in a bank of`,
      `                 ${formatCount(BANK.accounts)} accounts for a second or two, and leaves`,
      '',
    );
    return postgres;
  }

  private async runDirect(postgres: EmbeddedPostgres, parts: Workers): Promise<RunResult> {
    const { screen } = this;
    screen.print(screen.paint('bold', '1  Straight to PostgreSQL'));
    const result = await this.runClients(postgres.port, parts, (moment) => {
      const connectionsMax = LIMITS.databaseConnections;
      screen.show(() => liveProgress({ moment, connectionsMax, waiting: undefined }, screen.paint));
    });
    screen.print(`   ${outcomeLine(result)}`, '');
    return result;
  }

  private async runThrough(berth: DemoBerth, parts: Workers, direct: RunResult): Promise<Findings> {
    const { screen } = this;
    screen.print(
      screen.paint('bold', '2  Through Berth') +
        `, which may have ${LIMITS.poolConnections} of the connections`,
    );
    const meter = new UsageMeter(berth);
    const result = await this.runClients(berth.port, parts, (moment) => {
      const waiting = meter.look();
      const connectionsMax = LIMITS.poolConnections;
      screen.show(() => liveProgress({ moment, connectionsMax, waiting }, screen.paint));
    });
    const usage = meter.finish();
    screen.print(`   ${outcomeLine(result)}`, '', '');
    return { direct, berth: result, usage, audit: await parts.bank.audit() };
  }

  private runClients(
    port: number,
    workers: Workers,
    onMoment: (moment: Moment) => void,
  ): Promise<RunResult> {
    const { user, database } = BANK;
    const assignment = { port, user, database, password: this.password, seed: SEED };
    return run({ ...workers, assignment, signal: this.interruption.signal, onMoment });
  }

  /** Until somebody stops it. */
  private async serve(berth: DemoBerth): Promise<void> {
    const { screen } = this;
    const { user, database } = BANK;
    const url = `postgresql://${user}:${this.password}@127.0.0.1:${berth.port}/${database}`;
    screen.print(
      `${screen.paint('bold', 'Berth goes on serving.')} Try it with psql, or any other PostgreSQL client:`,
      '',
      `  psql "${url}"`,
      `  curl ${berth.apiUrl}/metrics`,
      '',
      `Ctrl-C stops it and removes everything. Berth's log follows.`,
      '',
    );
    const hasColor = process.stderr.isTTY && screen.hasColor;
    const sink = fileDescriptorSink(STDERR);
    const log = new EventLog({ level: 'debug', format: 'text', hasColor, sink });
    berth.journal.follow(log);
    try {
      await this.interruption.asked();
    } finally {
      berth.journal.follow(SILENT);
      await log.flush();
    }
    screen.print('');
  }
}

function endedEarly({ log }: EmbeddedPostgres): Error {
  // Without what it had to say to the clients.
  const own = log.split('\n').filter((line) => line !== '' && !line.includes(`${BANK.user}@`));
  return new Error(`PostgreSQL ended unexpectedly\n${own.slice(-LOG_LINES_SHOWN).join('\n')}`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type Workers = Pick<RunParts, 'bank' | 'clients'>;

function outcomeLine({ outcome, durationMs }: RunResult): string {
  const clients = `${formatCount(outcome.served)} of ${formatNumber(outcome.arrived, 'client')}`;
  const transactions = formatNumber(outcome.transactions, 'transaction');
  return `${clients} served, ${transactions} in ${formatSeconds(durationMs)}`;
}
