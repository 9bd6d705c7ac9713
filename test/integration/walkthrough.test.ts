/** examples/aws-walkthrough.sh: the life of a proxy by the aws command alone. */

import { expect, setDefaultTimeout } from 'bun:test';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { type Berth, useBerth } from '../harness/berth.ts';
import { describeClusters, useCluster } from '../harness/cluster/clusters.ts';
import { makeClusterConfiguration } from '../harness/cluster/configuration.ts';
import { within } from '../harness/deadline.ts';
import { fileKey } from '../harness/iam.ts';
import { useMysqlBerths } from '../harness/mysql/berth.ts';
import { describeServers, loginOf, useMysql } from '../harness/mysql/server.ts';
import { hasProgram, skipBecause, testWith } from '../harness/programs.ts';
import { randomRange, TEST_KEY } from '../harness/rds.ts';

const DEADLINE_MS = 120_000;
const SCRIPT = join(import.meta.dir, '..', '..', 'examples', 'aws-walkthrough.sh');

setDefaultTimeout(DEADLINE_MS);

/** `client`: what else the script needs; the servers come with their own. */
function testAws(name: string, client: 'psql' | 'aws', body: () => Promise<void>): void {
  if (hasProgram('aws')) testWith(client, name, body, DEADLINE_MS);
  else skipBecause('no aws', name);
}

function file() {
  const Api = { Listen: '127.0.0.1:0', EndpointRange: randomRange() };
  return { StateDirectory: 'state', DrainTimeout: 1, Api, Principals: [WALKER] };
}

/** Who walks: may use the APIs, and log in with tokens. */
const WALKER = {
  UserName: 'walker',
  AccessKeys: [fileKey(TEST_KEY)],
  Policies: [
    {
      PolicyName: 'walk',
      PolicyDocument: {
        Statement: [
          {
            Effect: 'Allow',
            Action: ['rds:*', 'secretsmanager:*', 'rds-db:connect'],
            Resource: '*',
          },
        ],
      },
    },
  ],
};

/** What a rotation brings with it, and clients that are gone before they were told. */
const EXPECTED = [
  'proxy.stopped',
  'connection.open_failed',
  'client.authentication_failed',
  'target.health_changed',
  'client.closed',
];

async function walk(berth: Berth, database: Readonly<Record<string, string>>): Promise<void> {
  const child = spawn('bash', [SCRIPT], {
    env: {
      PATH: process.env.PATH ?? '',
      HOME: process.env.HOME ?? '',
      AWS_ENDPOINT_URL: berth.apiUrl,
      AWS_ACCESS_KEY_ID: TEST_KEY.accessKeyId,
      AWS_SECRET_ACCESS_KEY: TEST_KEY.secretAccessKey,
      AWS_CONFIG_FILE: '/dev/null',
      AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
      CA_FILE: join(dirname(berth.configurationFile), 'state', 'ca.crt'),
      LOAD_SECONDS: '4',
      ...database,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve));
  const code = await within(ended, () => `the end of the script\n${output}`, DEADLINE_MS);
  expect({ code, output: code === 0 ? '' : output }).toEqual({ code: 0, output: '' });
  expect(output).toContain('it works');
  expect(output).toContain('the token works');
  expect(output).toMatch(/\d+ statements, none failed/);
  expect(output).toContain('the endpoint works, too');
  expect(output).toContain('The DB proxy endpoint walkthrough-reports was created.');
}

describeClusters(
  'the walkthrough',
  (kind) => {
    const cluster = useCluster(kind, { replicas: 1 });
    const isPostgres = kind.engine === 'postgres';
    const own = useBerth(() => {
      const configuration = makeClusterConfiguration(cluster());
      return { configuration: { ...configuration, ...file() }, expect: EXPECTED };
    });

    testAws('by the aws command, with a reader', isPostgres ? 'psql' : 'aws', () =>
      walk(own(), {
        DB_ENGINE: kind.engine,
        DB_PORT: String(cluster().writer.port),
        DB_READER_PORT: String(cluster().replica(0).port),
        DB_PASSWORD: isPostgres ? 'app-password' : String(loginOf('app').password),
      }),
    );
  },
  ['postgres', 'mariadb'],
);

describeServers(
  'the walkthrough',
  (server) => {
    const database = useMysql(server);
    const start = useMysqlBerths(database);

    testAws('by the aws command', 'aws', async () => {
      const own = await start({ file: file(), expect: EXPECTED });
      await walk(own, {
        DB_ENGINE: 'mysql',
        DB_PORT: String(database().port),
        DB_PASSWORD: String(loginOf('app').password),
      });
    });
  },
  { only: 'MySQL' },
);
