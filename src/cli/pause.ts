/**
 * `berth pause` and `berth resume`: hold the transactions of a proxy back while its database is restarted, upgraded
 * or replaced, and let them go on. Who pauses is shown what is waited for, and how it ended.
 */

import { z } from 'zod';
import { withoutControls } from '../base/printable.ts';
import { type AskingParts, answering, apiUrl, notBerth } from './ask-api.ts';
import { EXIT, type Output, type PauseOptions, type ResumeOptions } from './command-line.ts';
import { count, span } from './numbers.ts';
import { call, type OwnApi } from './own-api.ts';
import { sessionLines, sessionSchema } from './sessions.ts';

const LOOK_AGAIN_MS = 100;
/** Who is waited for is shown when it has changed, but not more often. */
const SHOW_AGAIN_MS = 2_000;
const ANSWER_TIMEOUT_MS = 10_000;

const inUse = {
  DatabaseConnections: z.number(),
  Sessions: z.array(sessionSchema),
  SessionCount: z.number(),
};

/** What is shown; an answer may have more. */
const answerSchema = z.object({
  DBProxyName: z.string(),
  State: z.enum(['RUNNING', 'PAUSING', 'PAUSED']),
  Since: z.iso.datetime().optional(),
  WaitingClients: z.number(),
  ConnectionBorrowTimeout: z.number(),
  ...inUse,
  Failure: z.object({ At: z.iso.datetime(), Timeout: z.number(), ...inUse }).optional(),
});
type Answer = z.output<typeof answerSchema>;
type InUse = Pick<Answer, keyof typeof inUse>;

export async function pause(options: PauseOptions, parts: AskingParts): Promise<number> {
  const { output } = parts;
  return await answering(output, async () => {
    const asked = await Control.of(options, parts);
    const pausing = new Pausing(options, asked, output);
    return await interruptible(
      (signal) => pausing.run(signal),
      async () => {
        await asked.call('ResumeDBProxy', {});
        output.err(`berth: interrupted, so ${options.proxy} goes on\n`);
        return EXIT.failed;
      },
    );
  });
}

export async function resume(options: ResumeOptions, parts: AskingParts): Promise<number> {
  const { json, proxy } = options;
  const { output } = parts;
  return await answering(output, async () => {
    const asked = await Control.of(options, parts);
    const before = await asked.call('DescribeDBProxyPause', {});
    const after = await asked.call('ResumeDBProxy', {});
    if (json) output.out(asked.lastText);
    else if (before.State === 'RUNNING') output.out(`${proxy} is not paused.\n`);
    else {
      const heldFor = pausedFor(before);
      const waiting = count(before.WaitingClients, 'client');
      output.out(`${after.DBProxyName} goes on after ${heldFor}; ${waiting} waited.\n`);
    }
    return EXIT.ok;
  });
}

/** The operations on one proxy. */
class Control {
  /** What was answered last, as it is. */
  lastText = '';
  private readonly api: OwnApi;
  private readonly proxy: string;

  private constructor(api: OwnApi, proxy: string) {
    this.api = api;
    this.proxy = proxy;
  }

  static async of(
    { api, proxy, region }: ResumeOptions,
    { environment, answerTimeoutMs: timeoutMs = ANSWER_TIMEOUT_MS }: AskingParts,
  ): Promise<Control> {
    const base = await apiUrl(api, environment);
    return new Control({ base, region, environment, timeoutMs }, proxy);
  }

  async call(operation: string, input: Readonly<Record<string, unknown>>): Promise<Answer> {
    const { api, proxy } = this;
    const body = await call(api, operation, { DBProxyName: proxy, ...input });
    const answer = answerSchema.safeParse(body);
    if (!answer.success) throw notBerth(api.base);
    this.lastText = `${JSON.stringify(body, undefined, 2)}\n`;
    return answer.data;
  }
}

class Pausing {
  private readonly options: PauseOptions;
  private readonly asked: Control;
  private readonly output: Output;
  private shown = '';
  private shownAt = performance.now();

  constructor(options: PauseOptions, asked: Control, output: Output) {
    this.options = options;
    this.asked = asked;
    this.output = output;
  }

  /** Until it is paused, or will not be; stops asking when `signal` says so. */
  async run(signal: AbortSignal): Promise<number> {
    const { asked, options } = this;
    const { keep: Keep, timeout: Timeout } = options;
    let answer = await asked.call('PauseDBProxy', { Timeout, Keep });
    if (answer.State === 'PAUSED') {
      this.say(`${options.proxy} is paused already, for ${pausedFor(answer)}.`);
      return this.end(EXIT.ok);
    }
    this.say(`No transaction of ${options.proxy} begins any more; those that run may end.`);
    while (answer.State === 'PAUSING' && !signal.aborted) {
      this.show(answer);
      await Bun.sleep(LOOK_AGAIN_MS);
      answer = await asked.call('DescribeDBProxyPause', {});
    }
    return this.ended(answer);
  }

  private ended(answer: Answer): number {
    const { proxy } = this.options;
    const { Failure: failure } = answer;
    if (answer.State === 'PAUSED') {
      this.say(`${proxy} is paused: the database has no connection of it any more.`);
      this.say(waitText(answer));
      this.say(`To go on: berth resume ${proxy}`);
      return this.end(EXIT.ok);
    }
    const why =
      failure === undefined
        ? `was resumed before it was paused`
        : `could not be paused within ${failure.Timeout} s, so it goes on. ${inUseText(failure)}`;
    this.output.err(`berth: ${proxy} ${why}\n`);
    return this.end(EXIT.failed);
  }

  private end(code: number): number {
    if (this.options.json) this.output.out(this.asked.lastText);
    return code;
  }

  private show(answer: Answer): void {
    const { Sessions: sessions, SessionCount: total } = answer;
    const key = JSON.stringify([total, sessions.map((each) => each.client_connection)]);
    const isDue = performance.now() - this.shownAt >= SHOW_AGAIN_MS;
    if (!isDue || key === this.shown) return;
    this.shown = key;
    this.shownAt = performance.now();
    this.say(inUseText(answer));
  }

  private say(text: string): void {
    if (!this.options.json) this.output.out(`${text}\n`);
  }
}

function pausedFor({ Since: since }: Answer): string {
  return span(Date.now() - Date.parse(since ?? ''));
}

function waitText({ ConnectionBorrowTimeout: timeout, WaitingClients: waiting }: Answer): string {
  if (timeout === 0) return 'ConnectionBorrowTimeout is 0, so clients get an error meanwhile.';
  const wait = waiting === 1 ? 'waits' : 'wait';
  const limit = `for at most ${timeout} s each (ConnectionBorrowTimeout)`;
  return `${count(waiting, 'client')} ${wait}, ${limit}.`;
}

/** Who holds a connection, or what does. */
function inUseText({ DatabaseConnections, Sessions: listed, SessionCount: total }: InUse): string {
  const open = count(DatabaseConnections, 'connection');
  if (total === 0) return `No session holds a connection; ${open} to the database not closed yet.`;
  const rest = listed.length < total ? [`and ${total - listed.length} more.`] : [];
  const lines = sessionLines(listed, Date.now());
  const verb = total === 1 ? 'holds' : 'hold';
  return [`${count(total, 'session')} ${verb} a connection:`, ...lines, ...rest]
    .map(withoutControls)
    .join('\n');
}

/** Runs until a signal of the terminal or of a supervisor comes, and then `interrupted` in its place. */
async function interruptible(
  run: (signal: AbortSignal) => Promise<number>,
  interrupted: () => Promise<number>,
): Promise<number> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.once(signal, stop);
  const stopped = Promise.withResolvers<'stopped'>();
  controller.signal.addEventListener('abort', () => stopped.resolve('stopped'));
  try {
    const ended = await Promise.race([run(controller.signal), stopped.promise]);
    return ended === 'stopped' ? await interrupted() : ended;
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}
