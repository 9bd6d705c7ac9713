/** Asks the API of a Berth that runs, for the commands that show what it answers. */

import { z } from 'zod';
import { loadApi } from '../control/config-file.ts';
import { ConfigurationError } from '../control/configuration-error.ts';
import type { Environment } from '../control/environment.ts';
import { formatListenAddress } from '../control/listen-address.ts';
import type { ListenAddress } from '../proxy/snapshot.ts';
import { type ApiPlace, EXIT, type Output } from './command-line.ts';

const ANSWER_TIMEOUT_MS = 10_000;

export interface AskingParts {
  readonly environment: Environment;
  readonly output: Output;
}

/** Why there is no answer. The message is for people and complete. */
class NoAnswer extends Error {
  readonly exitCode: number;

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message);
    this.name = 'NoAnswer';
    this.exitCode = exitCode;
  }
}

export interface Question<Answer> {
  readonly api: ApiPlace;
  readonly path: string;
  readonly parameters: Readonly<Record<string, string | undefined>>;
  readonly schema: z.ZodType<Answer>;
  /** Show the answer as it is. */
  readonly json: boolean;
  readonly format: (answer: Answer) => string;
}

/** Asks, prints the answer or why there is none, and returns the exit code. */
export async function askAndShow<Answer>(
  { api, path, parameters, schema, json, format }: Question<Answer>,
  { environment, output }: AskingParts,
): Promise<number> {
  try {
    const base = 'url' in api ? api.url : await urlOf(api.config, environment);
    const body = await ask(withPath(base, path, parameters));
    const answer = schema.safeParse(body);
    if (!answer.success) throw new NoAnswer(`${base.origin} answers, but not as Berth does`);
    output.out(json ? `${JSON.stringify(body, undefined, 2)}\n` : format(answer.data));
    return EXIT.ok;
  } catch (error) {
    if (error instanceof ConfigurationError) {
      output.err(`${error.message}\n`);
      return EXIT.badUsage;
    }
    if (!(error instanceof NoAnswer)) throw error;
    output.err(`berth: ${error.message}\n`);
    return error.exitCode;
  }
}

async function urlOf(file: string, environment: Environment): Promise<URL> {
  const api = await loadApi(file, environment);
  if (api === undefined) {
    const what = 'has no Api, so a Berth that runs with it cannot be asked';
    throw new NoAnswer(
      `${file} ${what}; add Api: { Listen: 127.0.0.1:8400, AllowAnonymous: true }`,
      EXIT.badUsage,
    );
  }
  const { host, port } = reachable(api.listen);
  if (port === 0) {
    const what = 'leaves the port of Api.Listen to the system';
    throw new NoAnswer(`${file} ${what}; give --url, with the port of the log`, EXIT.badUsage);
  }
  return new URL(`http://${formatListenAddress({ host, port })}`);
}

/** What listens on all addresses is asked on this machine's own. */
function reachable({ host, port }: ListenAddress): ListenAddress {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  return { host: host === '::' ? '::1' : host, port };
}

function withPath(base: URL, path: string, parameters: Question<unknown>['parameters']): URL {
  const url = new URL(base);
  url.pathname = `${base.pathname.replace(/\/$/, '')}${path}`;
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) url.searchParams.set(name, value);
  }
  return url;
}

async function ask(url: URL): Promise<unknown> {
  const { status, text } = await get(url);
  const body = parseJson(text);
  if (status === 200) return body;
  const refusal = REFUSAL.safeParse(body);
  if (!refusal.success) throw new NoAnswer(`${url.origin} answers ${status}, not as Berth does`);
  throw new NoAnswer(`${url.origin} refuses (${status}): ${refusal.data.error}`);
}

const REFUSAL = z.object({ error: z.string() });

async function get(url: URL): Promise<{ readonly status: number; readonly text: string }> {
  try {
    const signal = AbortSignal.timeout(ANSWER_TIMEOUT_MS);
    const response = await fetch(url, { signal, redirect: 'manual' });
    return { status: response.status, text: await response.text() };
  } catch (error) {
    throw new NoAnswer(`no answer from ${url.origin}: ${why(error)}`);
  }
}

function why(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (error instanceof Error && error.name === 'TimeoutError') {
    return `nothing within ${ANSWER_TIMEOUT_MS / 1000} s`;
  }
  switch (code) {
    case 'ConnectionRefused':
    case 'ECONNREFUSED':
      return 'nothing listens there; is Berth running, with this Api.Listen?';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
