/**
 * What the demo and the process of its clients tell each other. Both sides check what they receive:
 * it comes over a pipe.
 */

import { z } from 'zod';
import { DEMO_ENGINES } from './plan.ts';

/** What the clients are to do. The same seed gives the same clients with the same transfers. */
const assignmentSchema = z.object({
  engine: z.enum(DEMO_ENGINES),
  port: z.number(),
  user: z.string(),
  password: z.string(),
  database: z.string(),
  seed: z.number(),
});
export type Assignment = Readonly<z.infer<typeof assignmentSchema>>;

const progressSchema = z.object({
  arrived: z.number(),
  connected: z.number(),
  turnedAway: z.number(),
  transactions: z.number(),
});
/** Counts so far; `connected` is how many are there now. */
export type Progress = Readonly<z.infer<typeof progressSchema>>;

const percentilesSchema = z.object({ p50: z.number(), p95: z.number(), p99: z.number() });
/** Milliseconds. */
export type Percentiles = Readonly<z.infer<typeof percentilesSchema>>;

const outcomeSchema = z.object({
  arrived: z.number(),
  connectedMost: z.number(),
  served: z.number(),
  turnedAway: z.number(),
  transactions: z.number(),
  transfers: z.number(),
  failed: z.number(),
  /** What went wrong, and how often, in the words of the database or the driver. */
  refusals: z.record(z.string(), z.number()),
  errors: z.record(z.string(), z.number()),
  connectMs: percentilesSchema,
  beginMs: percentilesSchema,
  transferMs: percentilesSchema,
  readMs: percentilesSchema,
});
export type Outcome = Readonly<z.infer<typeof outcomeSchema>>;

const reportSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('progress'), progress: progressSchema }),
  z.object({ kind: z.literal('outcome'), outcome: outcomeSchema }),
]);
export type Report = Readonly<z.infer<typeof reportSchema>>;

export function parseAssignment(message: unknown): Assignment {
  return assignmentSchema.parse(message);
}

export function parseReport(message: unknown): Report {
  return reportSchema.parse(message);
}
