/**
 * `GET /sessions` and `GET /pools`: who is connected, what holds a database connection and why. The
 * names are those of the log's fields, so that a session and its log lines can be put together.
 * docs/sessions.md describes every field, and a test compares.
 */

import { type Context, Hono } from 'hono';
import { z } from 'zod';
import { PIN_ADVICE } from '../../observe/advice.ts';
import type {
  Listing,
  Pin,
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../../observe/descriptions.ts';

/**
 * Sessions, or pools, in one answer; of more than these only the number is told. An answer is made at
 * one go while clients wait: about 3 ms for these many, and 40 to 140 ms for ten times as many.
 */
export const LISTED_MAX = 1_000;

export interface ListingParts {
  /** Of all proxies, or of the one that is named; undefined when there is none of that name. */
  readonly sessions: (
    proxy: string | undefined,
    query: SessionQuery,
  ) => Listing<SessionDescription> | undefined;
  readonly pools: (proxy: string | undefined) => readonly PoolDescription[] | undefined;
}

const proxy = z.string().optional();
const PINNED_ERROR = 'pinned must be true or false';
const sessionsQuery = z.strictObject({
  proxy,
  pinned: z.enum(['true', 'false'], { error: PINNED_ERROR }).default('false'),
});
const poolsQuery = z.strictObject({ proxy });

export function listings(parts: ListingParts): Hono {
  const app = new Hono();
  app.use('*', async (context, next) => {
    await next();
    context.header('Cache-Control', 'no-store');
  });
  app.get('/sessions', (context) => {
    const query = sessionsQuery.safeParse(context.req.query());
    if (!query.success) return badQuery(context, query.error);
    const isPinnedOnly = query.data.pinned === 'true';
    const found = parts.sessions(query.data.proxy, { isPinnedOnly, limit: LISTED_MAX });
    if (found === undefined) return noSuchProxy(context, query.data.proxy);
    const { items, total } = found;
    const sessions = items.map(sessionJson);
    const truncated = items.length < total;
    return context.json({ at: iso(Date.now()), sessions, total, truncated });
  });
  app.get('/pools', (context) => {
    const query = poolsQuery.safeParse(context.req.query());
    if (!query.success) return badQuery(context, query.error);
    const found = parts.pools(query.data.proxy);
    if (found === undefined) return noSuchProxy(context, query.data.proxy);
    const pools = found.slice(0, LISTED_MAX).map(poolJson);
    const { length: total } = found;
    return context.json({ at: iso(Date.now()), pools, total, truncated: pools.length < total });
  });
  return app;
}

function badQuery(context: Context, { issues }: z.ZodError): Response {
  const [issue] = issues;
  const error =
    issue?.code === 'unrecognized_keys'
      ? `there is no parameter ${issue.keys.join(', ')}`
      : issue?.message;
  return context.json({ error }, 400);
}

function noSuchProxy(context: Context, name = ''): Response {
  return context.json({ error: `there is no proxy "${name}"` }, 404);
}

export function sessionJson(session: SessionDescription) {
  const { databaseConnection: held, pin } = session;
  return {
    client_connection: session.clientConnection,
    proxy: session.proxy,
    endpoint: session.endpoint,
    user: session.user,
    database: session.database,
    client_address: session.clientAddress,
    application_name: session.applicationName,
    tls: session.isEncrypted,
    logged_in_at: iso(session.loggedInAt),
    state: session.state,
    state_since: iso(session.stateSince),
    database_connection: held?.id ?? null,
    database_process_id: held?.processId ?? null,
    pin: pin === undefined ? null : pinJson(pin),
  };
}

function pinJson({ reason, digest, since }: Pin) {
  return { reason, digest, since: iso(since), advice: PIN_ADVICE[reason] };
}

function poolJson(pool: PoolDescription) {
  const { targetLimits: limits, waitingSince, pausedSince } = pool;
  return {
    proxy: pool.proxy,
    target: pool.target,
    user: pool.user,
    database: pool.database,
    clients: pool.clients,
    connections: pool.connections,
    waiting: pool.waiting,
    waiting_since: waitingSince === undefined ? null : iso(waitingSince),
    paused_since: pausedSince === undefined ? null : iso(pausedSince),
    target_limits: {
      max_connections: limits.maxConnections,
      limited_by: limits.limitedBy,
      max_idle_connections: limits.maxIdleConnections,
      in_use: limits.inUse,
    },
  };
}

function iso(time: number): string {
  return new Date(time).toISOString();
}
