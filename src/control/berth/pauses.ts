/** PauseDBProxy, ResumeDBProxy, DescribeDBProxyPause. */

import { z } from 'zod';
import type { PauseDescription, PauseFailure } from '../../observe/descriptions.ts';
import { Fault } from '../aws/fault.ts';
import { sessionJson } from '../http/listings.ts';
import { type DesiredState, poolSettings } from '../state/desired-state.ts';
import type { ProxyRecord } from '../state/records.ts';

/** Seconds. Well below the usual ConnectionBorrowTimeout, because others wait meanwhile. */
export const PAUSE_TIMEOUT_S = 30;
export const PAUSE_TIMEOUT_MAX_S = 3_600;

/** A proxy that runs, as far as it can be paused. */
export interface PausableProxy {
  /** Returns false when the proxy is being stopped. */
  pause(options: { readonly timeoutMs: number; readonly isKept: boolean }): boolean;
  resume(): void;
  describePause(): PauseDescription;
}

export interface OwnContext {
  readonly state: DesiredState;
  /** Undefined when no proxy of that name runs. */
  readonly pausable: (proxy: string) => PausableProxy | undefined;
}

export interface OwnOperation {
  /** The names of what it takes. */
  readonly parameters: readonly string[];
  /** Returns the members of the result; throws `Fault`. */
  run(input: unknown, context: OwnContext): unknown;
}

const proxyName = { DBProxyName: z.string().min(1).max(255) };

interface NamedProxy {
  readonly DBProxyName: string;
}

function operation<Input extends NamedProxy>(
  schema: z.ZodObject & z.ZodType<Input>,
  perform: (proxy: PausableProxy, input: Input) => void,
): OwnOperation {
  return {
    parameters: Object.keys(schema.shape),
    run(given, context) {
      const input = schema.safeParse(given);
      if (!input.success) throw new Fault('ValidationError', problemOf(input.error));
      const record = find(input.data.DBProxyName, context);
      const proxy = context.pausable(record.name);
      if (proxy === undefined) {
        const message = `DB proxy ${record.name} does not serve: it has no target, or cannot listen.`;
        throw new Fault('InvalidDBProxyStateFault', message);
      }
      perform(proxy, input.data);
      return answer(proxy.describePause(), record);
    },
  };
}

export const PAUSE_OPERATIONS = {
  PauseDBProxy: operation(
    z.strictObject({
      ...proxyName,
      Timeout: z.number().min(1).max(PAUSE_TIMEOUT_MAX_S).default(PAUSE_TIMEOUT_S),
      Keep: z.boolean().default(false),
    }),
    (proxy, { DBProxyName, Timeout, Keep }) => {
      if (proxy.pause({ timeoutMs: Timeout * 1_000, isKept: Keep })) return;
      throw new Fault('InvalidDBProxyStateFault', `DB proxy ${DBProxyName} is being stopped.`);
    },
  ),
  ResumeDBProxy: operation(z.strictObject(proxyName), (proxy) => proxy.resume()),
  DescribeDBProxyPause: operation(z.strictObject(proxyName), () => {}),
};

function find(name: string, { state }: OwnContext): ProxyRecord {
  const found = state.proxies.find(({ record }) => record.name === name);
  if (found !== undefined) return found.record;
  throw new Fault('DBProxyNotFoundFault', `DB proxy ${name} was not found.`);
}

function problemOf({ issues: [issue] }: z.ZodError): string {
  if (issue === undefined) return 'The parameters are wrong.';
  if (issue.code === 'unrecognized_keys') return `There is no parameter ${issue.keys.join(', ')}.`;
  return `${issue.path.join('.') || 'The body'}: ${issue.message}`;
}

function answer(pause: PauseDescription, { targetGroup }: ProxyRecord) {
  const { proxy, state, since, waiting, connections, failure } = pause;
  return {
    DBProxyName: proxy,
    State: state,
    ...(since === undefined ? {} : { Since: iso(since) }),
    WaitingClients: waiting,
    ConnectionBorrowTimeout: poolSettings(targetGroup.config).ConnectionBorrowTimeout,
    ...inUse({ connections, holders: pause.holders }),
    ...(failure === undefined ? {} : { Failure: failureAnswer(failure) }),
  };
}

function failureAnswer({ at, timeoutMs, ...rest }: PauseFailure) {
  return { At: iso(at), Timeout: timeoutMs / 1_000, ...inUse(rest) };
}

function inUse({ connections, holders }: Pick<PauseFailure, 'connections' | 'holders'>) {
  const { items, total } = holders;
  return {
    DatabaseConnections: connections,
    Sessions: items.map(sessionJson),
    SessionCount: total,
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
