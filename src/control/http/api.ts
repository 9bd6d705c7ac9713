/**
 * The HTTP side of the control plane: the APIs of AWS, metrics, health, readiness, sessions and pools. It is
 * built from small functions, so it knows neither pools nor sockets. Health and readiness are open to
 * everybody who can reach the address, because those who ask (load balancers, orchestrators) have no
 * credentials. The APIs of AWS take signed requests; everything else is refused unless anonymous use is
 * allowed.
 */

import { type Context, Hono } from 'hono';
import { type ListingParts, listings } from './listings.ts';

/** Whether one proxy can serve, and what stands in the way. */
export interface ProxyReadiness {
  readonly proxy: string;
  /** Empty when it can. For anybody's eyes: no addresses, no text from a database. */
  readonly reasons: readonly string[];
}

export interface HttpApiParts extends ListingParts {
  readonly metrics: () => Promise<{ readonly contentType: string; readonly body: string }>;
  /** What is wrong with the process as a whole; undefined while it works. */
  readonly health: () => string | undefined;
  readonly readiness: () => readonly ProxyReadiness[];
  /** Called with what a route threw; the client only learns that something did. */
  readonly onError: (error: unknown) => void;
  readonly allowAnonymous: boolean;
  /** Answers a request to an API of AWS, which sees for itself who may ask. */
  readonly aws: ((request: Request, source: string) => Promise<Response>) | undefined;
}

export interface HttpApi {
  /** `source` is the address that it came from. */
  fetch(request: Request, source?: string): Response | Promise<Response>;
}

export function httpApi(parts: HttpApiParts): HttpApi {
  const app = new Hono<{ Bindings: { readonly source: string } }>();
  app.get('/healthz', (context) => health(context, parts));
  app.get('/readyz', (context) => readiness(context, parts));
  const { aws } = parts;
  if (aws !== undefined) app.post('/', (context) => aws(context.req.raw, context.env.source));
  app.use('*', async (context, next) => {
    if (parts.allowAnonymous) return next();
    return context.json(MISSING_AUTHENTICATION, 403);
  });
  app.get('/metrics', async (context) => {
    const { contentType, body } = await parts.metrics();
    return context.body(body, 200, { 'Content-Type': contentType });
  });
  app.route('/', listings(parts));
  app.notFound((context) => context.json({ error: 'there is nothing at this path' }, 404));
  app.onError((error, context) => {
    parts.onError(error);
    return context.json({ error: 'internal error' }, 500);
  });
  return { fetch: (request, source = '') => app.fetch(request, { source }) };
}

/** The code is the one that AWS's APIs answer a request without a signature with. */
const MISSING_AUTHENTICATION = {
  code: 'MissingAuthenticationToken',
  error:
    'only the APIs of AWS, at POST /, take signed requests; on a loopback address, Api.AllowAnonymous: true allows all requests',
};

function health(context: Context, parts: HttpApiParts): Response {
  const problem = parts.health();
  if (problem === undefined) return context.json({ healthy: true });
  return context.json({ healthy: false, reason: problem }, 503);
}

function readiness(context: Context, parts: HttpApiParts): Response {
  const proxies = parts.readiness();
  const isReady = proxies.every(({ reasons }) => reasons.length === 0);
  const body = {
    ready: isReady,
    proxies: proxies.map(({ proxy, reasons }) => ({
      proxy,
      ready: reasons.length === 0,
      reasons,
    })),
  };
  return context.json(body, isReady ? 200 : 503);
}
