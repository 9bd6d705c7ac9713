/**
 * The command line: which commands and options there are, and which exit code a run ends with. The
 * commands themselves are functions that are passed in, so nothing is loaded that is not run.
 */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { LOG_LEVELS, type LogLevel } from '../observe/log-text.ts';
import { LOG_FORMATS, type LogFormat } from '../observe/logs.ts';
import { DEMO_ENGINES, type DemoEngine } from './demo/plan.ts';

/** Exit codes. `badUsage` is for the command line and the configuration file alike. */
export const EXIT = { ok: 0, failed: 1, badUsage: 2 } as const;

export interface ServeOptions {
  readonly config: string;
  readonly logLevel: LogLevel;
  /** Undefined: readable lines on a terminal, JSON otherwise. */
  readonly logFormat: LogFormat | undefined;
}

export interface DemoOptions {
  /** Stop after the summary instead of going on to serve. */
  readonly exit: boolean;
  readonly engine: DemoEngine;
}

export interface CheckOptions {
  readonly config: string;
}

export interface CaOptions {
  /** Undefined: the state directory of the current folder. */
  readonly config: string | undefined;
}

/** The API to ask: that of a configuration file, or one by its address. */
export type ApiPlace = { readonly config: string } | { readonly url: URL };

export interface PoolsOptions {
  readonly api: ApiPlace;
  /** Undefined: of all proxies. */
  readonly proxy: string | undefined;
  /** The API's answer instead of a table. */
  readonly json: boolean;
}

export interface SessionsOptions extends PoolsOptions {
  readonly pinned: boolean;
}

export interface ResumeOptions {
  readonly api: ApiPlace;
  readonly proxy: string;
  /** What requests are signed for, if they are. */
  readonly region: string;
  readonly json: boolean;
}

export interface PauseOptions extends ResumeOptions {
  /** Seconds, for the transactions that run; undefined: as Berth has it. */
  readonly timeout: number | undefined;
  /** Go on waiting after that time. */
  readonly keep: boolean;
}

export interface TokenOptions {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly region: string;
}

/** Each runs one command to its end and returns the exit code. */
export interface Commands {
  serve(options: ServeOptions): Promise<number>;
  demo(options: DemoOptions): Promise<number>;
  check(options: CheckOptions): Promise<number>;
  ca(options: CaOptions): Promise<number>;
  sessions(options: SessionsOptions): Promise<number>;
  pools(options: PoolsOptions): Promise<number>;
  pause(options: PauseOptions): Promise<number>;
  resume(options: ResumeOptions): Promise<number>;
  token(options: TokenOptions): Promise<number>;
}

export interface Output {
  out(text: string): void;
  err(text: string): void;
}

/** Runs what `args` ask for and returns the exit code. Errors of a command are its caller's. */
export async function runCommandLine(
  args: readonly string[],
  {
    version,
    commands,
    output,
  }: {
    readonly version: string;
    readonly commands: Commands;
    readonly output: Output;
  },
): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = build(version, commands, (code) => {
    exitCode = code;
  });
  for (const command of [program, ...program.commands]) {
    command.exitOverride();
    command.configureOutput({ writeOut: output.out, writeErr: output.err });
  }
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version were asked for; help without a command was not.
    return error.exitCode === 0 ? EXIT.ok : EXIT.badUsage;
  }
  return exitCode;
}

function build(version: string, commands: Commands, finish: (code: number) => void): Command {
  const program = new Command('berth')
    .description('An open, self-hosted Amazon RDS Proxy.')
    .version(version, '-v, --version', 'print the version')
    .helpOption('-h, --help', 'print this help')
    .helpCommand(false)
    .showHelpAfterError('(berth --help shows what there is)');
  program
    .command('serve')
    .description('run the proxies of a configuration file')
    .addOption(configOption())
    .addOption(
      new Option('--log-level <level>', 'least level to log').choices(LOG_LEVELS).default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'default: text on a terminal, else json').choices(
        LOG_FORMATS,
      ),
    )
    .action(async (options: { config: string; logLevel: LogLevel; logFormat?: LogFormat }) => {
      const { config, logLevel, logFormat } = options;
      finish(await commands.serve({ config, logLevel, logFormat }));
    });
  program
    .command('demo')
    .description('start a database and a proxy, run a short workload and show what happened')
    .addOption(
      new Option('--engine <engine>', 'which database').choices(DEMO_ENGINES).default('postgres'),
    )
    .option('--exit', 'stop after the summary', false)
    .action(async (options: DemoOptions) => finish(await commands.demo(options)));
  program
    .command('check')
    .description('check a configuration file and try to reach every target')
    .addOption(configOption())
    .action(async ({ config }: { config: string }) => finish(await commands.check({ config })));
  program
    .command('ca')
    .description('print the certificate of the local authority, which signs those of proxies')
    .addOption(configFlag('configuration file; default: the folder .berth here'))
    .action(async ({ config }: { config?: string }) => finish(await commands.ca({ config })));
  addSessions(program, commands, finish);
  addPools(program, commands, finish);
  addPause(program, commands, finish);
  addResume(program, commands, finish);
  addToken(program, commands, finish);
  return program;
}

interface AskingFlags {
  readonly config?: string;
  readonly url?: URL;
  readonly proxy?: string;
  readonly json: boolean;
}

function addSessions(program: Command, commands: Commands, finish: (code: number) => void): void {
  const sessions = program
    .command('sessions')
    .description('list the clients of a running Berth, and why each pinned one is')
    .option('--pinned', 'only those that are pinned', false);
  addAskingOptions(sessions).action(async (flags: AskingFlags & { pinned: boolean }) => {
    const { pinned, proxy, json } = flags;
    finish(await commands.sessions({ api: apiPlace(sessions, flags), pinned, proxy, json }));
  });
}

function addPools(program: Command, commands: Commands, finish: (code: number) => void): void {
  const pools = program
    .command('pools')
    .description('list the pools of a running Berth and what their connections are doing');
  addAskingOptions(pools).action(async (flags: AskingFlags) => {
    const { proxy, json } = flags;
    finish(await commands.pools({ api: apiPlace(pools, flags), proxy, json }));
  });
}

function addPause(program: Command, commands: Commands, finish: (code: number) => void): void {
  const pause = program
    .command('pause')
    .description('hold the transactions of a proxy back, so that its database can be restarted')
    .argument('<proxy>', 'name of the proxy')
    .addOption(
      new Option('--timeout <seconds>', 'for the transactions that run; default: 30').argParser(
        parseSeconds,
      ),
    )
    .option('--keep', 'go on waiting for them after that time', false);
  addApiOptions(pause).action(
    async (proxy: string, flags: ControlFlags & { timeout?: number; keep: boolean }) => {
      const { json, keep, region, timeout } = flags;
      const api = apiPlace(pause, flags);
      finish(await commands.pause({ api, proxy, region, timeout, keep, json }));
    },
  );
}

function addResume(program: Command, commands: Commands, finish: (code: number) => void): void {
  const resume = program
    .command('resume')
    .description('let the transactions of a paused proxy go on')
    .argument('<proxy>', 'name of the proxy');
  addApiOptions(resume).action(async (proxy: string, flags: ControlFlags) => {
    const { json, region } = flags;
    finish(await commands.resume({ api: apiPlace(resume, flags), proxy, region, json }));
  });
}

interface ControlFlags extends Omit<AskingFlags, 'proxy'> {
  readonly region: string;
}

/** For commands that change something: their requests are signed when there are credentials. */
function addApiOptions(command: Command): Command {
  const region = new Option('--region <region>', 'the Region of the configuration file');
  return addPlaceOptions(command).addOption(region.env('AWS_REGION').default('us-east-1'));
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds >= 1 && seconds <= 3_600) return seconds;
  throw new InvalidArgumentError('It must be 1 to 3600.');
}

function addToken(program: Command, commands: Commands, finish: (code: number) => void): void {
  const region = new Option('--region <region>', 'the Region of the configuration file');
  program
    .command('token')
    .description('print an IAM token to log in to a proxy with, signed with the credentials of AWS')
    .requiredOption('--host <host>', 'host name or address of the endpoint')
    .addOption(new Option('--port <port>', 'its port').argParser(parsePort).makeOptionMandatory())
    .requiredOption('--user <user>', 'the user of the database')
    .addOption(region.env('AWS_REGION').default('us-east-1'))
    .action(async (options: TokenOptions) => finish(await commands.token(options)));
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d+$/.test(text) && port >= 1 && port <= 65_535) return port;
  throw new InvalidArgumentError('It must be 1 to 65535.');
}

/** For commands that list something of a Berth that runs. */
function addAskingOptions(command: Command): Command {
  return addPlaceOptions(command.option('--proxy <name>', 'only of this proxy'));
}

/** For commands that ask the API of a Berth that runs. */
function addPlaceOptions(command: Command): Command {
  return command
    .addOption(
      configFlag('configuration file of the Berth to ask: its Api.Listen').conflicts('url'),
    )
    .addOption(
      new Option('--url <url>', 'or the address of its API, as http://127.0.0.1:8400').argParser(
        parseUrl,
      ),
    )
    .option('--json', 'print what the API answers', false);
}

function apiPlace(command: Command, { config, url }: Omit<AskingFlags, 'proxy'>): ApiPlace {
  if (url !== undefined) return { url };
  if (config !== undefined) return { config };
  return command.error("error: one of the options '--config <file>' and '--url <url>' is needed");
}

function parseUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return url;
  throw new InvalidArgumentError('It must begin with http:// or https://.');
}

function configOption(): Option {
  return configFlag('configuration file (docs/configuration.md)').makeOptionMandatory();
}

function configFlag(description: string): Option {
  return new Option('--config <file>', description).argParser((value) => {
    if (value === '') throw new InvalidArgumentError('It must not be empty.');
    return value;
  });
}
