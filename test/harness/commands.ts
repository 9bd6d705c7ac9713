/** Runs `berth pause` and `berth resume` for tests, in the test's own process: that is quicker. */

import { type Commands, runCommandLine } from '../../src/cli/command-line.ts';
import { pause, resume } from '../../src/cli/pause.ts';
import { EVENT_DEADLINE_MS } from './deadline.ts';
import type { AccessKey } from './rds.ts';

export interface CommandResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** `words`: of the command line, without `berth`. */
export async function runBerth(words: string, key?: AccessKey): Promise<CommandResult> {
  const out: string[] = [];
  const err: string[] = [];
  const output = {
    out: (text: string) => void out.push(text),
    err: (text: string) => void err.push(text),
  };
  const environment = key && {
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_SESSION_TOKEN: key.sessionToken,
  };
  const parts = { environment: environment ?? {}, output, answerTimeoutMs: EVENT_DEADLINE_MS };
  const other = () => Promise.reject(new Error('not for this'));
  const commands: Commands = {
    serve: other,
    demo: other,
    check: other,
    ca: other,
    token: other,
    sessions: other,
    pools: other,
    pause: (options) => pause(options, parts),
    resume: (options) => resume(options, parts),
  };
  const code = await runCommandLine(words.split(' '), { version: '0', commands, output });
  return { code, out: out.join(''), err: err.join('') };
}
