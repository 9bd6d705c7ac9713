/**
 * The command line: which commands and options there are, and which exit code a run ends with. The
 * commands themselves are functions that are passed in, so nothing is loaded that is not run.
 */

import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { LOG_LEVELS, type LogLevel } from '../observe/log-text.ts';
import { LOG_FORMATS, type LogFormat } from '../observe/logs.ts';

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
}

export interface CheckOptions {
  readonly config: string;
}

/** Each runs one command to its end and returns the exit code. */
export interface Commands {
  serve(options: ServeOptions): Promise<number>;
  demo(options: DemoOptions): Promise<number>;
  check(options: CheckOptions): Promise<number>;
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
    .description('start a PostgreSQL and a proxy, run a short workload and show what happened')
    .option('--exit', 'stop after the summary', false)
    .action(async ({ exit }: { exit: boolean }) => finish(await commands.demo({ exit })));
  program
    .command('check')
    .description('check a configuration file and try to reach every target')
    .addOption(configOption())
    .action(async ({ config }: { config: string }) => finish(await commands.check({ config })));
  return program;
}

function configOption(): Option {
  return new Option('--config <file>', 'configuration file (docs/configuration.md)')
    .makeOptionMandatory()
    .argParser((value) => {
      if (value === '') throw new InvalidArgumentError('It must not be empty.');
      return value;
    });
}
