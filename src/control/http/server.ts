/**
 * Serves the HTTP API. The only place outside `net/` that touches Bun's own server: HTTP is not the
 * data plane, and `Bun.serve` is a well-kept implementation of it.
 */

import type { TcpAddress } from '../../proxy/snapshot.ts';
import { formatTcpAddress } from '../listen-address.ts';
import type { HttpApi } from './api.ts';

/** The largest request; nothing that the API takes comes near it. */
const REQUEST_BYTES_MAX = 1024 * 1024;
const IDLE_TIMEOUT_S = 30;

/** The address cannot be listened on. The message is for people and complete. */
export class HttpListenError extends Error {
  constructor(listen: TcpAddress, cause: unknown) {
    super(`Api.Listen: cannot listen on ${formatTcpAddress(listen)}: ${why(cause)}`, { cause });
    this.name = 'HttpListenError';
  }
}

export interface HttpServer {
  /** Where it listens; the port is the real one when 0 was asked for. */
  readonly address: TcpAddress;
  /** Stops listening and cuts what is open. */
  stop(): Promise<void>;
}

export function serveHttp(api: HttpApi, listen: TcpAddress): HttpServer {
  const server = start(api, listen);
  return {
    address: { host: listen.host, port: server.port ?? listen.port },
    stop: () => server.stop(true),
  };
}

function start(api: HttpApi, listen: TcpAddress) {
  try {
    return Bun.serve({
      hostname: listen.host,
      port: listen.port,
      fetch: (request, server) => api.fetch(request, server.requestIP(request)?.address),
      maxRequestBodySize: REQUEST_BYTES_MAX,
      idleTimeout: IDLE_TIMEOUT_S,
      development: false,
    });
  } catch (error) {
    throw new HttpListenError(listen, error);
  }
}

function why(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'EADDRINUSE':
      return 'the port is in use';
    case 'EADDRNOTAVAIL':
      return 'this machine does not have the address';
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    default:
      return error instanceof Error ? error.message : String(error);
  }
}
