/** Every event in both formats, at the level it should have. */

import { describe, expect, test } from 'bun:test';
import type { ClientConnectionId, DatabaseConnectionId } from '../../../src/base/ids.ts';
import type { Event, EventName } from '../../../src/observe/events.ts';
import type { LogSink } from '../../../src/observe/log-sink.ts';
import { type LogLevel, levelOf } from '../../../src/observe/log-text.ts';
import { EventLog, type LogFormat } from '../../../src/observe/logs.ts';
import {
  CLIENT_CLOSE_REASONS,
  DATABASE_CLOSE_REASONS,
  INTERRUPTIONS,
  PIN_REASONS,
} from '../../../src/observe/reasons.ts';

const client = {
  proxy: 'orders',
  endpoint: 'default',
  clientConnection: 5 as ClientConnectionId,
} as const;
const database = {
  proxy: 'orders',
  target: 'orders-db',
  databaseConnection: 9 as DatabaseConnectionId,
} as const;
const { databaseConnection } = database;
const target = { proxy: 'orders', target: 'orders-db' } as const;

/** At least one of every event; a new event does not compile until it is here. */
const EVENTS: { readonly [Name in EventName]: readonly Extract<Event, { event: Name }>[] } = {
  'client.connected': [{ ...client, event: 'client.connected', address: '127.0.0.1:4711' }],
  'client.unplaced': [
    { event: 'client.unplaced', address: '127.0.0.1:5432', serverName: 'other' },
    { event: 'client.unplaced', address: '127.0.0.1:5432', serverName: '' },
  ],
  'client.denied': [
    {
      proxy: 'orders',
      endpoint: 'default',
      event: 'client.denied',
      address: '192.0.2.1',
      times: 3,
    },
  ],
  'client.tls_failed': [{ ...client, event: 'client.tls_failed', detail: 'wrong version number' }],
  'client.authenticated': [
    { ...client, event: 'client.authenticated', user: 'app', database: 'shop' },
  ],
  'client.authentication_failed': (
    ['unknown_user', 'wrong_password', 'malformed_response'] as const
  ).map((why) => ({
    ...client,
    event: 'client.authentication_failed',
    engine: 'PostgreSQL',
    user: 'app',
    why,
  })),
  'client.closed': CLIENT_CLOSE_REASONS.map((reason) => ({
    ...client,
    event: 'client.closed',
    reason,
  })),
  'borrow.failed': (['timeout', 'refused'] as const).map((why) => ({
    ...client,
    event: 'borrow.failed',
    why,
    waitedMs: 120,
    detail: 'MaxConnections is 4.',
  })),
  'session.pinned': PIN_REASONS.map((reason) => ({
    ...client,
    event: 'session.pinned',
    databaseConnection: database.databaseConnection,
    reason,
    digest: 'set x = $1',
  })),
  'session.unpinned': [
    {
      ...client,
      event: 'session.unpinned',
      databaseConnection: database.databaseConnection,
      reason: 'listen',
    },
  ],
  'session.interrupted': INTERRUPTIONS.map((reason) => ({
    ...client,
    event: 'session.interrupted',
    databaseConnection: database.databaseConnection,
    reason,
  })),
  'replication.started': (['logical', 'physical'] as const).map((kind) => ({
    ...client,
    event: 'replication.started',
    databaseConnection: database.databaseConnection,
    kind,
  })),
  'connection.borrowed': [
    { ...client, event: 'connection.borrowed', databaseConnection, waitedMs: 0.25 },
  ],
  'connection.returned': (['clean', 'cleanable', 'destroy'] as const).map((verdict) => ({
    ...client,
    event: 'connection.returned',
    databaseConnection,
    verdict,
  })),
  'statement.sent': [
    { ...client, event: 'statement.sent', databaseConnection, digest: 'select $1' },
  ],
  'request.answered': [
    { ...client, event: 'request.answered', databaseConnection, durationMs: 1.5 },
  ],
  'proxy.debug_logging': [
    {
      event: 'proxy.debug_logging',
      proxy: 'orders',
      isOn: true,
      until: '2030-01-01T00:00:00.000Z',
    },
    { event: 'proxy.debug_logging', proxy: 'orders', isOn: false, until: '' },
  ],
  'listener.opened': [{ ...target, event: 'listener.opened', database: 'shop', channels: 2 }],
  'listener.closed': [{ ...target, event: 'listener.closed', database: 'shop' }],
  'listener.lost': [
    { ...target, event: 'listener.lost', database: 'shop', channels: 1, detail: 'it went away' },
  ],
  'notifications.dropped': [{ ...client, event: 'notifications.dropped', bytesMax: 1_048_576 }],
  'cancel.forwarded': [
    {
      ...client,
      event: 'cancel.forwarded',
      databaseConnection: database.databaseConnection,
    },
  ],
  'connection.opened': [
    {
      ...database,
      event: 'connection.opened',
      user: 'app',
      database: 'shop',
      from: '10.0.0.1:50000',
      to: '10.0.0.2:5432',
    },
  ],
  'connection.open_failed': [true, false].map((isTemporary) => ({
    ...target,
    event: 'connection.open_failed',
    user: 'app',
    database: 'shop',
    isTemporary,
    detail: 'connection refused',
  })),
  'connection.closed': DATABASE_CLOSE_REASONS.map((reason) => ({
    ...database,
    event: 'connection.closed',
    reason,
  })),
  'connection.reset': [{ ...database, event: 'connection.reset' }],
  'target.role_changed': (['READ_WRITE', 'READ_ONLY', 'UNKNOWN'] as const).map((role) => ({
    ...target,
    event: 'target.role_changed',
    role,
    why: 'orders-db takes writes',
  })),
  'failover.began': [
    { ...target, event: 'failover.began', from: 'orders-1', why: 'orders-1 does not answer' },
  ],
  'failover.ended': ['orders-1', 'orders-2'].map((to) => ({
    ...target,
    event: 'failover.ended',
    from: 'orders-1',
    to,
    durationMs: 1_234,
    why: `${to} takes writes`,
  })),
  'target.health_changed': [
    {
      ...target,
      event: 'target.health_changed',
      state: 'AVAILABLE',
      reason: undefined,
      detail: '',
    },
    {
      ...target,
      event: 'target.health_changed',
      state: 'UNAVAILABLE',
      reason: 'UNREACHABLE',
      detail: 'connection refused',
    },
  ],
  'endpoint.listening': [true, false].map((isPublic) => ({
    event: 'endpoint.listening',
    proxy: 'orders',
    endpoint: 'default',
    address: '127.0.0.1:6432',
    isPublic,
  })),
  'endpoint.closed': [{ event: 'endpoint.closed', proxy: 'orders', endpoint: 'default' }],
  'proxy.pausing': [{ event: 'proxy.pausing', proxy: 'orders', timeoutMs: 30_000 }],
  'proxy.paused': [{ event: 'proxy.paused', proxy: 'orders', tookMs: 12 }],
  'proxy.pause_overdue': [true, false].map((isKept) => ({
    event: 'proxy.pause_overdue',
    proxy: 'orders',
    timeoutMs: 30_000,
    isKept,
    detail: 'A connection is held by client connection 7 (user app, in_transaction).',
  })),
  'proxy.resumed': [0, 1].map((waiting) => ({
    event: 'proxy.resumed',
    proxy: 'orders',
    heldMs: 1_200,
    waiting,
  })),
  'proxy.stopped': [0, 1].map((clientsCut) => ({
    event: 'proxy.stopped',
    proxy: 'orders',
    clientsCut,
  })),
  'api.listening': [{ event: 'api.listening', address: '127.0.0.1:8400' }],
  'configuration.applied': [{ event: 'configuration.applied', proxies: 1 }],
  'configuration.incomplete': [
    { event: 'configuration.incomplete', detail: 'DBProxies[0].Listen: cannot listen' },
  ],
  'configuration.doubted': [{ event: 'configuration.doubted', detail: 'It expires soon.' }],
  'credentials.missing': [
    { event: 'credentials.missing', proxy: 'orders', detail: 'There is no such secret.' },
  ],
  'secret.unreadable': [
    { event: 'secret.unreadable', secret: 'app', detail: 'app.json cannot be read: ENOENT' },
  ],
  'configuration.refused': [{ event: 'configuration.refused', detail: 'berth.yaml:1  x' }],
  'process.started': [{ event: 'process.started', version: '0.1.0', pid: 1 }],
  'process.sends_singly': [{ event: 'process.sends_singly', detail: 'SendBatching is OFF' }],
  'process.draining': [
    { event: 'process.draining', signal: 'SIGTERM', clients: 2, deadlineMs: 30_000 },
  ],
  'process.stopped': [{ event: 'process.stopped', clientsCut: 0 }],
  'internal.failed': [
    { event: 'internal.failed', doing: 'testing', error: new TypeError('boom') },
    { event: 'internal.failed', doing: 'testing', error: 'a text' },
    { event: 'internal.failed', doing: 'testing', error: undefined },
  ],
};
const ALL: readonly Event[] = Object.values(EVENTS).flat();

class Lines implements LogSink {
  readonly lines: string[] = [];
  dropped = 0;

  write(line: string): void {
    this.lines.push(line);
  }

  async flush(): Promise<void> {}

  takeDropped(): number {
    const lines = this.dropped;
    this.dropped = 0;
    return lines;
  }
}

function logOf(format: LogFormat, level: LogLevel = 'trace') {
  const sink = new Lines();
  return { sink, log: new EventLog({ level, format, hasColor: false, sink }) };
}

function write(event: Event, format: LogFormat, level?: LogLevel): string {
  const { sink, log } = logOf(format, level);
  log.emit(event);
  return sink.lines.join('');
}

describe('every event', () => {
  test.each(ALL.map((event) => [JSON.stringify(event), event] as const))('%s', (_, event) => {
    const record: Record<string, unknown> = JSON.parse(write(event, 'json'));
    expect(record.event).toBe(event.event);
    expect(record.level).toBe(levelOf(event));
    expect(new Date(String(record.time)).toISOString()).toBe(String(record.time));
    expect(String(record.msg)).toMatch(/^[A-Z].*\S$/);
    expect(String(record.msg)).not.toMatch(/undefined|\[object/);
    if ('reason' in event && event.reason !== undefined) expect(record.reason).toBe(event.reason);

    const line = write(event, 'text');
    expect(line).toContain(String(record.msg));
    expect(line).toContain(`${levelOf(event).toUpperCase()}: `);
    if (!('error' in event)) expect(line.trimEnd().split('\n')).toHaveLength(1);
  });
});

describe("RDS Proxy's texts", () => {
  const cases: readonly (readonly [Event, string])[] = [
    [
      { ...EVENTS['session.pinned'][1], reason: 'set' } as Event,
      `[proxy=orders] [proxyEndpoint=default] [clientConnection=5] The client session was pinned to the database connection [dbConnection=9] for the remainder of the session. The proxy can't reuse this connection until the session ends. Reason: SQL changed session settings that the proxy doesn't track. Consider moving session configuration to the proxy's initialization query. Digest: "set x = $1".`,
    ],
    [
      { ...client, event: 'client.connected', address: '10.1.2.3:4711' },
      '[clientConnection=5] A new client connected from 10.1.2.3:4711.',
    ],
    [
      { ...client, event: 'client.closed', reason: 'client_request' },
      'The client connection closed. Reason: The client requested that the connection close.',
    ],
    [
      { ...client, event: 'client.closed', reason: 'client_gone' },
      'The client connection closed. Reason: The TCP channel was closed by either the client or the proxy.',
    ],
    [
      { ...database, event: 'connection.closed', reason: 'client_gone_in_request' },
      '[dbConnection=9] The database connection closed. Reason: The client connection that borrowed this database connection from the connection pool was closed in the middle of a request.',
    ],
    [
      { ...database, event: 'connection.reset' },
      '[dbConnection=9] The database connection was released to the connection pool upon session reset.',
    ],
    [
      {
        ...database,
        event: 'connection.opened',
        user: 'app',
        database: 'shop',
        from: '10.0.0.1:1',
        to: '10.0.0.2:2',
      },
      'A TCP connection was established from the proxy at 10.0.0.1:1 to the database at 10.0.0.2:2.',
    ],
    [
      {
        ...client,
        event: 'client.authentication_failed',
        engine: 'PostgreSQL',
        user: 'app',
        why: 'wrong_password',
      },
      'Proxy authentication with PostgreSQL native password authentication failed for user "app". Reason: Invalid credentials.',
    ],
    [
      {
        ...client,
        event: 'client.authentication_failed',
        engine: 'MySQL',
        user: 'app',
        why: 'wrong_password',
      },
      'Proxy authentication with MySQL native password authentication failed for user "app". Reason: Invalid credentials.',
    ],
  ];
  test.each(cases)('%p', (event, text) => {
    expect(write(event, 'text')).toContain(text);
  });
});

describe('levels', () => {
  test('connections that come and go are not in the log by default', () => {
    for (const event of [
      ...EVENTS['client.connected'],
      ...EVENTS['client.authenticated'],
      ...EVENTS['connection.opened'],
      ...EVENTS['connection.reset'],
      { ...client, event: 'client.closed', reason: 'client_request' } as const,
      { ...client, event: 'client.closed', reason: 'client_gone' } as const,
    ]) {
      expect(write(event, 'json', 'info')).toBe('');
      expect(write(event, 'json', 'debug')).not.toBe('');
    }
  });

  test('a client that sends nothing leaves no line of its own even at debug', () => {
    expect(write({ ...client, event: 'client.closed', reason: 'probe' }, 'json', 'debug')).toBe('');
  });

  test('every pin is a warning', () => {
    for (const event of EVENTS['session.pinned']) expect(levelOf(event)).toBe('warn');
  });
});

describe('a log line', () => {
  test('has the fixed field names', () => {
    const record: Record<string, unknown> = JSON.parse(
      write(
        { ...client, event: 'borrow.failed', why: 'timeout', waitedMs: 7, detail: 'x' },
        'json',
      ),
    );
    expect(record).toMatchObject({
      proxy: 'orders',
      endpoint: 'default',
      client_connection: 5,
      reason: 'timeout',
      duration_ms: 7,
    });
  });

  test('cannot be forged by a name from the network', () => {
    const user = 'app\n[12:00:00.000] ERROR: forged\u001b[2J\u2028';
    const event: Event = {
      ...client,
      event: 'client.authentication_failed',
      engine: 'MySQL',
      user,
      why: 'unknown_user',
    };
    const line = write(event, 'text');
    expect(line.trimEnd().split(/[\n\u2028]/)).toHaveLength(1);
    expect(line).toContain('app\\x0a[12:00:00.000]');
    expect(line).not.toContain('\u001b');
    expect(JSON.parse(write(event, 'json')).user).toBe(user);
  });

  test('holds the stack of an internal error', () => {
    const event: Event = { event: 'internal.failed', doing: 'testing', error: new Error('boom') };
    expect(write(event, 'text')).toMatch(/An internal error while testing\.\nError: boom\n {4}at /);
    expect(JSON.parse(write(event, 'json')).err).toMatchObject({ type: 'Error', message: 'boom' });
  });

  test('is preceded by the number of lines that were lost', () => {
    const { sink, log } = logOf('json');
    sink.dropped = 3;
    log.emit({ event: 'configuration.applied', proxies: 1 });
    log.emit({ event: 'configuration.applied', proxies: 2 });
    expect(sink.lines.map((line) => JSON.parse(line).event)).toEqual([
      'log.dropped',
      'configuration.applied',
      'configuration.applied',
    ]);
  });
});
