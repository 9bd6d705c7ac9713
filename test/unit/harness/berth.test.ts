/** A proxy for tests is ready when all of it is. */

import { expect, test } from 'bun:test';
import { createServer } from 'node:net';
import { Berth } from '../../harness/berth.ts';

const CONFIGURATION = {
  Api: { Listen: '127.0.0.1:0', AllowAnonymous: true },
  DBInstances: [
    {
      DBInstanceIdentifier: 'nowhere',
      Engine: 'postgres',
      Endpoint: { Address: '127.0.0.1', Port: 1 },
    },
  ],
  Secrets: [{ Name: 'app', SecretString: { username: 'app', password: 'secret' } }],
  DBProxies: [
    {
      DBProxyName: 'orders',
      EngineFamily: 'POSTGRESQL',
      Listen: '127.0.0.1:0',
      Auth: [{ SecretArn: 'app' }],
      TargetGroup: { DBInstanceIdentifiers: ['nowhere'] },
    },
  ],
};

test("a port that is taken, the API's or an endpoint's: it starts on others", async () => {
  await using server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  const { port: taken } = address;
  for (const isTakenForApi of [true, false]) {
    let calls = 0;
    // The API's is the first in the file.
    const takePort = () => {
      const isTaken = calls++ === (isTakenForApi ? 0 : 1);
      return isTaken ? taken : 5_500 + Math.floor(Math.random() * 9_500);
    };
    const berth = await Berth.start({ configuration: CONFIGURATION }, takePort);
    expect(calls).toBeGreaterThanOrEqual(4);
    expect((await berth.fetch('/healthz')).status).toBe(200);
    await berth.kill();
  }
});
