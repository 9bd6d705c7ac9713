/**
 * What to know of a client that waits in vain, before it is cut: where its session is in the proxy, and
 * on which side bytes wait to be read. Bytes before the client: it was not woken. Bytes before the
 * proxy: that was not. None: an answer was never given.
 */

import { readFileSync } from 'node:fs';

/** Of what Linux says of a socket: the columns of /proc/net/tcp. */
const LOCAL = 1;
const REMOTE = 2;
const QUEUES = 4;

interface Listing {
  readonly sessions: readonly {
    readonly client_address: string;
    readonly state: string;
    readonly state_since: string;
    readonly database_process_id: number | null;
  }[];
}

/** `port` is the client's own; `sessionsUrl` is where the proxy lists its sessions, if it does. */
export async function whereStuck(port: number, sessionsUrl: string | undefined): Promise<string> {
  const queues = `unread by the client ${unread(LOCAL, port)}, by the proxy ${unread(REMOTE, port)}`;
  if (sessionsUrl === undefined) return queues;
  const { sessions } = (await (await fetch(sessionsUrl)).json()) as Listing;
  const session = sessions.find(({ client_address }) => client_address.endsWith(`:${port}`));
  if (session === undefined) return `${queues}; the proxy has no session`;
  const { state, state_since, database_process_id } = session;
  return `${queues}; ${state} since ${state_since} on ${database_process_id ?? 'no connection'}`;
}

/** Bytes that have come to the socket with this port at one of its ends, and were not read. */
function unread(end: number, port: number): string {
  const ending = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  try {
    for (const line of readFileSync('/proc/net/tcp', 'utf8').split('\n')) {
      const columns = line.trim().split(/\s+/);
      if (columns[end]?.endsWith(ending) !== true) continue;
      return `${Number.parseInt(columns[QUEUES]?.split(':')[1] ?? '', 16)} B`;
    }
    return 'nothing, it is gone';
  } catch {
    return 'unknown';
  }
}
