/** What the RDS API answers when Berth itself fails. */

import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CHECK_RATE_LIMITS } from '../../../src/control/aws/access.ts';
import { Throttle } from '../../../src/control/aws/throttle.ts';
import { parseConfiguration } from '../../../src/control/config-file.ts';
import { answerRds } from '../../../src/control/rds/api.ts';
import { DesiredState } from '../../../src/control/state/desired-state.ts';
import { EventJournal } from '../../../src/control/state/event-journal.ts';
import { SqliteStore } from '../../../src/control/state/sqlite-store.ts';
import { Principals } from '../../../src/credential/principals.ts';
import { RateLimiter } from '../../../src/credential/rate-limit.ts';

const FILE = `
Api: { Listen: 127.0.0.1:8400, AllowAnonymous: true }
DBInstances: [{ DBInstanceIdentifier: db, Engine: postgres, Endpoint: { Address: 127.0.0.1 } }]
Secrets: [{ Name: app, SecretString: { username: app, password: hunter2 } }]
DBProxies:
  - DBProxyName: orders
    EngineFamily: POSTGRESQL
    Listen: 127.0.0.1:6432
    Auth: [{ SecretArn: app }]
    TargetGroup: { DBInstanceIdentifiers: [db] }
`;

test('InternalFailure tells the caller nothing, and the operator everything', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-internal-'));
  const errors: unknown[] = [];
  const failure = new Error('hunter2');
  const state = new DesiredState({
    store: new SqliteStore(folder),
    file: 'berth.yaml',
    configuration: parseConfiguration(FILE, { file: 'berth.yaml', environment: {} }),
    secretReader: {
      stored: () => undefined,
      followed: () => undefined,
      principal: () => undefined,
    },
    journal: new EventJournal(),
    apply: () => undefined,
  });
  const body = 'Action=DescribeDBProxies&Version=2014-10-31';
  const request = new Request('http://localhost/', { method: 'POST', body });
  const response = await answerRds(
    { request, source: '127.0.0.1' },
    {
      state,
      observe: () => {
        throw failure;
      },
      throttle: new Throttle(),
      checks: new RateLimiter(CHECK_RATE_LIMITS),
      access: () => ({ allowAnonymous: true, principals: Principals.NONE }),
      onError: (error) => errors.push(error),
    },
  );
  const text = await response.text();
  expect(response.status).toBe(500);
  expect(text).toContain('<Type>Receiver</Type><Code>InternalFailure</Code>');
  expect(text).not.toContain('hunter2');
  expect(errors).toEqual([failure]);
  rmSync(folder, { recursive: true });
});
