/** The answers of `/sessions` and `/pools`, and what the manual says of their fields. */

import { describe, expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { nextClientConnectionId, nextDatabaseConnectionId } from '../../../src/base/ids.ts';
import { LISTED_MAX, type ListingParts, listings } from '../../../src/control/http/listings.ts';
import type {
  PoolDescription,
  SessionDescription,
  SessionQuery,
} from '../../../src/observe/descriptions.ts';
import { rowsOf } from '../docs/markdown.ts';

const TIME = Date.UTC(2026, 0, 2, 3, 4, 5, 678);

function session(changes: Partial<SessionDescription> = {}): SessionDescription {
  return {
    clientConnection: nextClientConnectionId(),
    proxy: 'orders',
    endpoint: 'default',
    user: 'app',
    database: 'shop',
    clientAddress: '127.0.0.1:40000',
    applicationName: 'till',
    isEncrypted: true,
    loggedInAt: TIME,
    state: 'pinned',
    stateSince: TIME + 1,
    databaseConnection: { id: nextDatabaseConnectionId(), processId: 4711 },
    pin: { reason: 'listen', digest: 'listen jobs', since: TIME + 2 },
    ...changes,
  };
}

const POOL: PoolDescription = {
  proxy: 'orders',
  target: 'orders-db',
  user: 'app',
  database: 'shop',
  clients: 7,
  connections: { connecting: 1, idle: 2, borrowed: 3, pinned: 4, resetting: 5, closing: 6 },
  waiting: 1,
  waitingSince: TIME,
  pausedSince: TIME + 3,
  targetLimits: {
    maxConnections: 30,
    limitedBy: 'MaxConnections',
    maxIdleConnections: 15,
    inUse: 22,
  },
};

async function get(path: string, parts: Partial<ListingParts> = {}) {
  const none = { sessions: () => ({ items: [], total: 0 }), pools: () => [] };
  const response = await listings({ ...none, ...parts }).fetch(
    new Request(`http://localhost${path}`),
  );
  return {
    status: response.status,
    headers: response.headers,
    body: JSON.parse(await response.text()),
  };
}

describe('/sessions', () => {
  test('says everything of a pinned session', async () => {
    const pinned = session();
    const sessions = () => ({ items: [pinned], total: 1 });
    const { status, headers, body } = await get('/sessions', { sessions });
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(Date.parse(body.at)).toBeGreaterThan(TIME);
    expect(body).toEqual({
      at: body.at,
      sessions: [
        {
          client_connection: pinned.clientConnection,
          proxy: 'orders',
          endpoint: 'default',
          user: 'app',
          database: 'shop',
          client_address: '127.0.0.1:40000',
          application_name: 'till',
          tls: true,
          logged_in_at: '2026-01-02T03:04:05.678Z',
          state: 'pinned',
          state_since: '2026-01-02T03:04:05.679Z',
          database_connection: pinned.databaseConnection?.id,
          database_process_id: 4711,
          pin: {
            reason: 'listen',
            digest: 'listen jobs',
            since: '2026-01-02T03:04:05.680Z',
            advice: 'Send LISTEN as a text of its own, so that Berth can listen for the client.',
          },
        },
      ],
      total: 1,
      truncated: false,
    });
  });

  test('has null for what an idle session does not have', async () => {
    const idle = session({ state: 'idle', databaseConnection: undefined, pin: undefined });
    const { body } = await get('/sessions', { sessions: () => ({ items: [idle], total: 1 }) });
    expect(body.sessions[0]).toMatchObject({
      database_connection: null,
      database_process_id: null,
      pin: null,
    });
  });

  test.each([
    ['/sessions', undefined, false],
    ['/sessions?pinned=false', undefined, false],
    ['/sessions?pinned=true&proxy=orders', 'orders', true],
  ])(
    '%s asks for what it says, and for no more than is shown',
    async (path, name, isPinnedOnly) => {
      const asked: [string | undefined, SessionQuery][] = [];
      const sessions: ListingParts['sessions'] = (proxy, query) => {
        asked.push([proxy, query]);
        return { items: [session()], total: LISTED_MAX + 1 };
      };
      const { body } = await get(path, { sessions });
      expect(asked).toEqual([[name, { isPinnedOnly, limit: LISTED_MAX }]]);
      expect(body).toMatchObject({ total: LISTED_MAX + 1, truncated: true });
    },
  );
});

describe('/pools', () => {
  test('says everything of a pool', async () => {
    const { body } = await get('/pools', { pools: () => [POOL] });
    expect(body).toEqual({
      at: body.at,
      pools: [
        {
          proxy: 'orders',
          target: 'orders-db',
          user: 'app',
          database: 'shop',
          clients: 7,
          connections: { connecting: 1, idle: 2, borrowed: 3, pinned: 4, resetting: 5, closing: 6 },
          waiting: 1,
          waiting_since: '2026-01-02T03:04:05.678Z',
          paused_since: '2026-01-02T03:04:05.681Z',
          target_limits: {
            max_connections: 30,
            limited_by: 'MaxConnections',
            max_idle_connections: 15,
            in_use: 22,
          },
        },
      ],
      total: 1,
      truncated: false,
    });
  });

  test(`shows ${LISTED_MAX} at most`, async () => {
    const pools = () => new Array<PoolDescription>(LISTED_MAX + 1).fill(POOL);
    const { body } = await get('/pools', { pools });
    expect(body.pools).toHaveLength(LISTED_MAX);
    expect(body).toMatchObject({ total: LISTED_MAX + 1, truncated: true });
  });
});

test.each([
  ['/sessions?pinned=maybe', 400, 'pinned must be true or false'],
  ['/sessions?user=app', 400, 'there is no parameter user'],
  ['/pools?pinned=true', 400, 'there is no parameter pinned'],
  ['/sessions?proxy=nobody', 404, 'there is no proxy "nobody"'],
  ['/pools?proxy=nobody', 404, 'there is no proxy "nobody"'],
])('%s is refused', async (path, status, error) => {
  const none = { sessions: () => undefined, pools: () => undefined };
  expect(await get(path, none)).toMatchObject({ status, body: { error } });
});

describe('docs/sessions.md', () => {
  const manual = readFileSync(new URL('../../../docs/sessions.md', import.meta.url), 'utf8');

  test.each([
    ['sessions', 'Fields of a session', () => session()],
    ['pools', 'Fields of a pool', () => POOL],
  ] as const)('has a row for every field of %s', async (path, heading, described) => {
    const sessions = () => ({ items: [described() as SessionDescription], total: 1 });
    const pools = () => [described() as PoolDescription];
    const { body } = await get(`/${path}`, { sessions, pools });
    const fields = pathsOf(body[path][0]);
    expect(fields.length).toBeGreaterThan(10);
    const rows = rowsOf(manual, heading).map((cell) => cell.replaceAll('`', ''));
    expect(rows.toSorted()).toEqual(fields.toSorted());
  });
});

/** `{ a: 1, b: { c: 2 } }` has `a` and `b.c`. */
function pathsOf(value: object): readonly string[] {
  return Object.entries(value).flatMap(([key, inner]: [string, unknown]) =>
    typeof inner === 'object' && inner !== null
      ? pathsOf(inner).map((path) => `${key}.${path}`)
      : [key],
  );
}
