/** Asks the API of a Berth that runs, for the commands that show what it answers. */

import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { text } from 'node:stream/consumers';
import { z } from 'zod';
import { loadApi } from '../control/config-file.ts';
import { ConfigurationError } from '../control/configuration-error.ts';
import type { Environment } from '../control/environment.ts';
import { formatTcpAddress } from '../control/listen-address.ts';
import type { TcpAddress } from '../proxy/snapshot.ts';
import { type ApiPlace, EXIT, type Output } from './command-line.ts';

const ANSWER_TIMEOUT_MS = 10_000;

export interface AskingParts {
  readonly environment: Environment;
  readonly output: Output;
  readonly answerTimeoutMs?: number;
}

/** Why there is no answer. The message is for people and complete. */
export class NoAnswer extends Error {
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
  { environment, output, answerTimeoutMs = ANSWER_TIMEOUT_MS }: AskingParts,
): Promise<number> {
  return await answering(output, async () => {
    const base = await apiUrl(api, environment);
    const body = await ask(withPath(base, path, parameters), answerTimeoutMs);
    const answer = schema.safeParse(body);
    if (!answer.success) throw notBerth(base);
    output.out(json ? `${JSON.stringify(body, undefined, 2)}\n` : format(answer.data));
    return EXIT.ok;
  });
}

/** Tells why there was no answer, and returns the exit code. */
export async function answering(output: Output, run: () => Promise<number>): Promise<number> {
  try {
    return await run();
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

export function notBerth(base: URL): NoAnswer {
  return new NoAnswer(`${base.origin} answers, but not as Berth does`);
}

export async function apiUrl(api: ApiPlace, environment: Environment): Promise<URL> {
  return 'url' in api ? api.url : await urlOf(api.config, environment);
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
  return new URL(`http://${formatTcpAddress({ host, port })}`);
}

/** What listens on all addresses is asked on this machine's own. */
function reachable({ host, port }: TcpAddress): TcpAddress {
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

async function ask(url: URL, timeoutMs: number): Promise<unknown> {
  const { status, text: body } = await exchange(url, { method: 'GET' }, timeoutMs);
  const answer = parseJson(body);
  if (status === 200) return answer;
  const refusal = REFUSAL.safeParse(answer);
  if (!refusal.success) throw new NoAnswer(`${url.origin} answers ${status}, not as Berth does`);
  throw new NoAnswer(`${url.origin} refuses (${status}): ${refusal.data.error}`);
}

const REFUSAL = z.object({ error: z.string() });

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

export interface HttpQuestion {
  readonly method: 'GET' | 'POST';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
}

/** Throws `NoAnswer` when there is none within the time. */
export async function exchange(
  url: URL,
  question: HttpQuestion,
  timeoutMs: number,
): Promise<HttpAnswer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    return await request(url, question, signal);
  } catch (error) {
    const reason = signal.aborted ? `nothing within ${timeoutMs / 1000} s` : why(error);
    throw new NoAnswer(`no answer from ${url.origin}: ${reason}`);
  }
}

/** Not `fetch`: that goes through the proxy of HTTP_PROXY, even to this machine. */
function request(
  url: URL,
  { method, headers = {}, body }: HttpQuestion,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const ask = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const sent = ask(url, { method, headers, signal }, (response) => {
      const status = response.statusCode ?? 0;
      text(response).then((body) => resolve({ status, text: body }), reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

function why(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isRefused = 'code' in error && error.code === 'ECONNREFUSED';
  if (isRefused) return 'nothing listens there; is Berth running, with this Api.Listen?';
  return error.message;
}

export function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
