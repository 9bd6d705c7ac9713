/** `berth sessions`: who is connected to a Berth that runs, and why each pinned session is. */

import { z } from 'zod';
import { withoutControls } from '../base/printable.ts';
import { type AskingParts, askAndShow } from './ask-api.ts';
import type { SessionsOptions } from './command-line.ts';
import { count, span } from './numbers.ts';
import { alignRows } from './table.ts';

/** What is shown; an answer may have more. */
export const sessionSchema = z.object({
  client_connection: z.number(),
  proxy: z.string(),
  endpoint: z.string(),
  user: z.string(),
  database: z.string(),
  client_address: z.string(),
  application_name: z.string(),
  tls: z.boolean(),
  logged_in_at: z.iso.datetime(),
  state: z.string(),
  state_since: z.iso.datetime(),
  database_connection: z.number().nullable(),
  database_process_id: z.number().nullable(),
  pin: z
    .object({
      reason: z.string(),
      digest: z.string(),
      since: z.iso.datetime(),
      advice: z.string(),
    })
    .nullable(),
});
type Session = z.output<typeof sessionSchema>;

const answerSchema = z.object({
  at: z.iso.datetime(),
  sessions: z.array(sessionSchema),
  total: z.number(),
  truncated: z.boolean(),
});
type Answer = z.output<typeof answerSchema>;

export async function sessions(options: SessionsOptions, parts: AskingParts): Promise<number> {
  const { api, proxy, pinned, json } = options;
  const question = {
    api,
    path: '/sessions',
    parameters: { proxy, pinned: pinned ? 'true' : undefined },
    schema: answerSchema,
    json,
    format: (answer: Answer) => format(answer, pinned),
  };
  return await askAndShow(question, parts);
}

const HEADINGS = [
  'CLIENT',
  'ENDPOINT',
  'USER',
  'DATABASE',
  'ADDRESS',
  'APPLICATION',
  'TLS',
  'LOGGED IN',
  'STATE',
  'FOR',
  'CONNECTION',
] as const;

function format({ at, sessions: listed, total, truncated }: Answer, isPinnedOnly: boolean): string {
  const kind = isPinnedOnly ? 'pinned session' : 'session';
  if (listed.length === 0) return `No ${kind}s.\n`;
  const now = Date.parse(at);
  const pinned = listed.filter(({ pin }) => pin !== null).length;
  const summary = truncated
    ? `The oldest ${listed.length} of ${count(total, kind)}.`
    : `${count(total, kind)}${isPinnedOnly ? '' : `, ${pinned} pinned`}.`;
  return `${[...sessionLines(listed, now), '', summary].join('\n')}\n`;
}

/** A table of sessions, with the reasons of those that are pinned. */
export function sessionLines(listed: readonly Session[], now: number): readonly string[] {
  const [head = '', ...rows] = alignRows([HEADINGS, ...listed.map((each) => cells(each, now))]);
  const blocks = listed.map((each, index) => [rows[index] ?? '', ...pinLines(each, now)]);
  return [head, ...blocks.flat()];
}

function cells(session: Session, now: number): readonly string[] {
  const { database_connection: connection, database_process_id: processId } = session;
  const process = processId === null ? '' : ` (process ${processId})`;
  return [
    String(session.client_connection),
    `${session.proxy}/${session.endpoint}`,
    session.user,
    session.database,
    session.client_address,
    session.application_name,
    session.tls ? 'yes' : 'no',
    `${span(now - Date.parse(session.logged_in_at))} ago`,
    session.state,
    span(now - Date.parse(session.state_since)),
    connection === null ? '' : `${connection}${process}`,
  ].map(withoutControls);
}

function pinLines({ pin }: Session, now: number): readonly string[] {
  if (pin === null) return [];
  const statement = pin.digest === '' ? '' : `: ${pin.digest}`;
  return [
    `  pinned for ${span(now - Date.parse(pin.since))} by ${pin.reason}${statement}`,
    `  to avoid it: ${pin.advice}`,
  ].map(withoutControls);
}
