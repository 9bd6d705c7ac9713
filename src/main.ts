/**
 * Parses the command line and runs one command. Commands are loaded when they are run, so that
 * `berth --help` does not wait for a data plane.
 */

import packageJson from '../package.json' with { type: 'json' };
import { type Commands, EXIT, type Output, runCommandLine } from './cli/command-line.ts';

const output: Output = {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
};

const commands: Commands = {
  async serve(options) {
    const { serve } = await import('./cli/serve.ts');
    return serve(options);
  },
  async demo(options) {
    const { demo } = await import('./cli/demo.ts');
    return demo(options);
  },
  async check(options) {
    const { check } = await import('./cli/check.ts');
    const { probeTarget } = await import('./compose.ts');
    return check(options, { probe: probeTarget, environment: process.env, output });
  },
  async ca(options) {
    const { ca } = await import('./cli/ca.ts');
    return ca(options, { environment: process.env, output });
  },
  async sessions(options) {
    const { sessions } = await import('./cli/sessions.ts');
    return sessions(options, { environment: process.env, output });
  },
  async pools(options) {
    const { pools } = await import('./cli/pools.ts');
    return pools(options, { environment: process.env, output });
  },
  async pause(options) {
    const { pause } = await import('./cli/pause.ts');
    return pause(options, { environment: process.env, output });
  },
  async resume(options) {
    const { resume } = await import('./cli/pause.ts');
    return resume(options, { environment: process.env, output });
  },
  async token(options) {
    const { token } = await import('./cli/token.ts');
    return token(options, output);
  },
};

async function run(): Promise<number> {
  try {
    const args = process.argv.slice(2);
    return await runCommandLine(args, { version: packageJson.version, commands, output });
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    output.err(`berth: an internal error\n${detail}\n`);
    return EXIT.failed;
  }
}

/** Leaves once the last output is written: leaving at once would cut what still waits for a pipe. */
async function leave(code: number): Promise<never> {
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((written) => stream.write('', () => written()));
  }
  process.exit(code);
}

await leave(await run());
