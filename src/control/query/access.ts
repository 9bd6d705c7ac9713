/** Whether a request to one of AWS's APIs may be answered, whichever protocol the API speaks. */

import { Fault } from './fault.ts';
import { authenticate, type Principal, type SignatureScope } from './signature.ts';

/** As the file has it now. */
export interface Access {
  readonly allowAnonymous: boolean;
  readonly principals: readonly Principal[];
}

/** Throws `Fault`. */
export async function checkAccess(
  request: Request,
  body: string,
  { allowAnonymous, principals }: Access,
  scope: SignatureScope,
): Promise<void> {
  if (allowAnonymous) {
    // Any page of the web may send a form to this machine, in the name of whoever looks at the page.
    if (request.headers.has('origin') || request.headers.has('sec-fetch-site')) {
      throw new Fault('AccessDenied', 'Requests of web pages are not allowed anonymously.');
    }
    return;
  }
  const { method, headers } = request;
  const { pathname: path } = new URL(request.url);
  await authenticate({ method, path, headers, body }, scope, principals, Date.now());
}
