/** The one place that knows the runtime's error codes. */

export type NetErrorCode =
  | 'address in use'
  | 'address not available'
  | 'permission denied'
  | 'connection refused'
  | 'unknown host'
  | 'unreachable'
  | 'no such socket'
  | 'no such folder'
  | 'not a socket'
  | 'too many open files'
  | 'timed out'
  | 'connection reset'
  | 'failed';

const CODES: Readonly<Record<string, NetErrorCode>> = {
  EADDRINUSE: 'address in use',
  EADDRNOTAVAIL: 'address not available',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  ECONNREFUSED: 'connection refused',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'unknown host',
  DNS_ENOTFOUND: 'unknown host',
  EHOSTUNREACH: 'unreachable',
  ENETUNREACH: 'unreachable',
  ENOENT: 'no such socket',
  ENOTDIR: 'no such folder',
  EMFILE: 'too many open files',
  ENFILE: 'too many open files',
  ETIMEDOUT: 'timed out',
  ECONNRESET: 'connection reset',
};

export function netErrorCode(error: unknown): NetErrorCode {
  for (let cause = error; cause instanceof Error; cause = cause.cause) {
    if ('code' in cause && typeof cause.code === 'string') return CODES[cause.code] ?? 'failed';
  }
  return 'failed';
}
