/** `berth pools`: the pools of a Berth that runs, and what their connections are doing. */

import { z } from 'zod';
import { withoutControls } from '../base/printable.ts';
import { type AskingParts, askAndShow } from './ask-api.ts';
import type { PoolsOptions } from './command-line.ts';
import { count, span } from './numbers.ts';
import { formatTable } from './table.ts';

/** What is shown; an answer may have more. */
const poolSchema = z.object({
  proxy: z.string(),
  target: z.string(),
  user: z.string(),
  database: z.string(),
  clients: z.number(),
  connections: z.object({
    connecting: z.number(),
    idle: z.number(),
    borrowed: z.number(),
    pinned: z.number(),
    resetting: z.number(),
    closing: z.number(),
  }),
  waiting: z.number(),
  waiting_since: z.iso.datetime().nullable(),
  paused_since: z.iso.datetime().nullable(),
  target_limits: z.object({
    max_connections: z.number(),
    limited_by: z.string(),
    in_use: z.number(),
  }),
});
type Pool = z.output<typeof poolSchema>;

const answerSchema = z.object({
  at: z.iso.datetime(),
  pools: z.array(poolSchema),
  total: z.number(),
  truncated: z.boolean(),
});
type Answer = z.output<typeof answerSchema>;

export async function pools(options: PoolsOptions, parts: AskingParts): Promise<number> {
  const { api, proxy, json } = options;
  const parameters = { proxy };
  const question = { api, path: '/pools', parameters, schema: answerSchema, json, format };
  return await askAndShow(question, parts);
}

const HEADINGS = [
  'PROXY',
  'TARGET',
  'USER',
  'DATABASE',
  'CLIENTS',
  'WAITING',
  'LONGEST',
  'IDLE',
  'BORROWED',
  'PINNED',
  'RESETTING',
  'CONNECTING',
  'CLOSING',
] as const;

function format({ at, pools: listed, total, truncated }: Answer): string {
  if (listed.length === 0) return 'No pools.\n';
  const now = Date.parse(at);
  const table = formatTable([HEADINGS, ...listed.map((pool) => cells(pool, now))]);
  const limits = new Set(listed.flatMap((pool) => [limitLine(pool), ...pauseLine(pool, now)]));
  const rest = truncated ? [`${listed.length} of ${count(total, 'pool')}.`] : [];
  return `${table}\n${[...limits, ...rest].join('\n')}\n`;
}

function cells(pool: Pool, now: number): readonly string[] {
  const { connections, waiting_since: since } = pool;
  return [
    pool.proxy,
    pool.target,
    pool.user,
    pool.database,
    String(pool.clients),
    String(pool.waiting),
    since === null ? '' : span(now - Date.parse(since)),
    String(connections.idle),
    String(connections.borrowed),
    String(connections.pinned),
    String(connections.resetting),
    String(connections.connecting),
    String(connections.closing),
  ].map(withoutControls);
}

function pauseLine({ proxy, paused_since: since }: Pool, now: number): readonly string[] {
  if (since === null) return [];
  const what = 'and holds its clients back: berth resume goes on';
  return [withoutControls(`${proxy} is paused for ${span(now - Date.parse(since))}, ${what}.`)];
}

function limitLine({ proxy, target, target_limits: limits }: Pool): string {
  const { in_use: used, max_connections: max, limited_by: setting } = limits;
  return withoutControls(
    `${proxy}, ${target}: ${used} of ${count(max, 'connection')} in use (${setting}).`,
  );
}
