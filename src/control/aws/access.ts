/**
 * Who may use the APIs of the control plane: a request is signed by a principal whose policies allow what it
 * asks for, or nobody's, where anonymous use is allowed.
 */

import { type AccessKey, decisionFor, type Principals } from '../../credential/principals.ts';
import type { RateLimiter, RateLimits } from '../../credential/rate-limit.ts';
import { Fault } from './fault.ts';
import { authenticate, type SignatureScope } from './signature.ts';
import type { Throttle } from './throttle.ts';

/** As desired state has it now. */
export interface Access {
  readonly allowAnonymous: boolean;
  readonly principals: Principals;
}

/** `anonymous` may do everything. */
export type Caller = AccessKey | 'anonymous';

/** Per second. A check costs about 60 µs of CPU, and more for a long body; who is refused pays as well. */
export const CHECK_RATE_LIMITS: RateLimits = { perSource: 400, overall: 1_000 };

/** What stands before every API. */
export interface Admission {
  readonly access: () => Access;
  /** Of those who have proved who they are. */
  readonly throttle: Throttle;
  /** Of checks of signatures, whoever asks for them. */
  readonly checks: RateLimiter;
}

/** A request, and the address that it came from. */
export interface Sent {
  readonly request: Request;
  readonly source: string;
}

/** Reads a request, and finds out who has sent it. Throws `Fault`. */
export async function admit(
  { request, source }: Sent,
  { access, throttle, checks }: Admission,
  scope: SignatureScope,
): Promise<{ readonly body: string; readonly caller: Caller }> {
  const allowed = access();
  if (!allowed.allowAnonymous && !checks.take(source, performance.now())) {
    throw new Fault('Throttling', 'Rate exceeded');
  }
  const body = await request.text();
  const caller = await checkAccess(request, body, allowed, scope);
  throttle.admit(caller === 'anonymous' ? caller : caller.arn);
  return { body, caller };
}

async function checkAccess(
  request: Request,
  body: string,
  { allowAnonymous, principals }: Access,
  scope: SignatureScope,
): Promise<Caller> {
  if (allowAnonymous) {
    // Any page of the web may send a form to this machine, in the name of whoever looks at the page.
    if (request.headers.has('origin') || request.headers.has('sec-fetch-site')) {
      throw new Fault('AccessDenied', 'Requests of web pages are not allowed anonymously.');
    }
    return 'anonymous';
  }
  const { method, headers } = request;
  const { pathname: path } = new URL(request.url);
  return authenticate({ method, path, headers, body }, scope, principals, Date.now());
}

/**
 * Throws `Fault` unless `caller` may do `action`, such as `rds:CreateDBProxy`, on each of `resources`.
 * https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
 */
export function authorize(caller: Caller, action: string, resources: readonly string[]): void {
  if (caller === 'anonymous') return;
  for (const resource of resources) {
    const decision = decisionFor(caller, action, resource);
    if (decision === 'allowed') continue;
    const why =
      decision === 'denied_explicitly'
        ? 'with an explicit deny in an identity-based policy'
        : `because no identity-based policy allows the ${action} action`;
    throw new Fault(
      'AccessDenied',
      `User: ${caller.arn} is not authorized to perform: ${action} on resource: ${resource} ${why}`,
    );
  }
}
