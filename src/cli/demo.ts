/**
 * `berth demo`: a real database, then the same clients twice, straight to it and through Berth,
 * and what came of it side by side. Then Berth goes on serving until it is told to stop, unless
 * `--exit` was given. Whatever happens, nothing is left behind: what was started is in one stack,
 * and is taken down in reverse.
 */

import { randomBytes } from 'node:crypto';
import packageJson from '../../package.json' with { type: 'json' };
import type { Observer } from '../observe/events.ts';
import { EventLog, fileDescriptorSink } from '../observe/logs.ts';
import { type DemoOptions, EXIT } from './command-line.ts';
import { Bank } from './demo/bank.ts';
import { DemoBerth } from './demo/berth.ts';
import { ClientProcess } from './demo/client-process.ts';
import { type DemoDatabase, startDatabase } from './demo/database.ts';
import { DIALECTS } from './demo/dialect.ts';
import { Interruption } from './demo/interruption.ts';
import { BANK, type DemoEngine, LIMITS, WAVES } from './demo/plan.ts';
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
/** Of the column of names at the start. */
const HEADING_WIDTH = 17;
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

  async run({ exit, engine }: DemoOptions): Promise<number> {
    await using started = new AsyncDisposableStack();
    const { paint } = this.screen;
    this.screen.print('', paint('bold', `Berth ${packageJson.version}, a demonstration`), '');
    const database = await this.startDatabase(engine);
    started.use(database);
    void database.exited.then(() => this.interruption.abort(endedEarly(database)));
    this.interruption.signal.throwIfAborted();
    const bank = started.use(await Bank.open(database));
    const clients = started.use(new ClientProcess());
    const direct = await this.runDirect({ bank, clients, database });
    const berth = started.use(DemoBerth.start(database, this.password, packageJson.version));
    const findings = await this.runThrough(berth, { bank, clients, database }, direct);
    await clients[Symbol.asyncDispose]();

    this.screen.print(...summaryLines(findings, paint), '');
    const exitCode = problemsOf(findings).length === 0 ? EXIT.ok : EXIT.failed;
    if (!exit) await this.serve(berth, database);
    const { folder, dialect } = database;
    await started.disposeAsync();
    this.screen.print(`Stopped. ${dialect.product} is gone, and so is ${folder}.`, '');
    return exitCode;
  }

  private async startDatabase(engine: DemoEngine): Promise<DemoDatabase> {
    const { screen } = this;
    const { product, connectionsMax } = DIALECTS[engine];
    screen.announce(`Starting ${product} ...`);
    const startedAt = performance.now();
    const database = await startDatabase(engine, this.password).catch((cause: unknown) => {
      throw new Error(`${product} could not be started: ${messageOf(cause)}`, { cause });
    });
    const { version, port, folder } = database;
    const took = formatSeconds(performance.now() - startedAt);
    const heading = `${product} ${version}`.padEnd(HEADING_WIDTH - 2);
    screen.print(
      `${heading}  a real one, started for this in ${took}, on 127.0.0.1:${port};`,
      `                 it allows ${connectionsMax} connections, as ${product} does by default`,
      `its data         ${folder}, removed at the end`,
      `the clients      ${WAVES.count} waves of ${WAVES.clients}: each connects, moves money in a bank of`,
      `                 ${formatCount(BANK.accounts)} accounts for a second or two, and leaves`,
      '',
    );
    return database;
  }

  private async runDirect(parts: Workers): Promise<RunResult> {
    const { screen } = this;
    const { dialect, port } = parts.database;
    screen.print(screen.paint('bold', `1  Straight to ${dialect.product}`));
    const result = await this.runClients(port, parts, (moment) => {
      const { connectionsMax } = dialect;
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
    const { product } = parts.database.dialect;
    return { product, direct, berth: result, usage, audit: await parts.bank.audit() };
  }

  private runClients(
    port: number,
    workers: Workers,
    onMoment: (moment: Moment) => void,
  ): Promise<RunResult> {
    const { user, database } = BANK;
    const { engine } = workers.database.dialect;
    const assignment = { engine, port, user, database, password: this.password, seed: SEED };
    const { bank, clients } = workers;
    return run({ bank, clients, assignment, signal: this.interruption.signal, onMoment });
  }

  /** Until somebody stops it. */
  private async serve(berth: DemoBerth, { dialect }: DemoDatabase): Promise<void> {
    const { screen } = this;
    const tryIt = dialect.tryIt(BANK.user, this.password, berth.port);
    const [program] = tryIt.split(' ');
    screen.print(
      `${screen.paint('bold', 'Berth goes on serving.')} Try it with ${program}, or any other ${dialect.product} client:`,
      '',
      `  ${tryIt}`,
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

function endedEarly({ dialect, log }: DemoDatabase): Error {
  // Without what it had to say to the clients.
  const own = log.split('\n').filter((line) => line !== '' && !line.includes(`${BANK.user}@`));
  return new Error(
    `${dialect.product} ended unexpectedly\n${own.slice(-LOG_LINES_SHOWN).join('\n')}`,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type Workers = Pick<RunParts, 'bank' | 'clients'> & { readonly database: DemoDatabase };

function outcomeLine({ outcome, durationMs }: RunResult): string {
  const clients = `${formatCount(outcome.served)} of ${formatNumber(outcome.arrived, 'client')}`;
  const transactions = formatNumber(outcome.transactions, 'transaction');
  return `${clients} served, ${transactions} in ${formatSeconds(durationMs)}`;
}
