/** examples/aws-walkthrough.sh: the life of a proxy by the aws command alone. */

import { expect, setDefaultTimeout } from 'bun:test';
import { spawn } from 'node:child_process';
import { dirname, join } from 'node:path';
import { type Berth, useBerth } from '../harness/berth.ts';
import { within } from '../harness/deadline.ts';
import { fileKey } from '../harness/iam.ts';
import { useMysqlBerths } from '../harness/mysql/berth.ts';
import { describeServers, loginOf, useMysql } from '../harness/mysql/server.ts';
import { usePostgres } from '../harness/postgres.ts';
import { hasProgram, skipBecause, testWith } from '../harness/programs.ts';
import { randomRange, TEST_KEY } from '../harness/rds.ts';

const DEADLINE_MS = 120_000;
const SCRIPT = join(import.meta.dir, '..', '..', 'examples', 'aws-walkthrough.sh');

setDefaultTimeout(DEADLINE_MS);

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

const postgres = usePostgres();
const berth = useBerth(() => ({ database: postgres(), file: file(), expect: EXPECTED }));

if (hasProgram('aws')) {
  testWith(
    'psql',
    'the walkthrough, with PostgreSQL',
    () => walk(berth(), { DB_PORT: String(postgres().port), DB_PASSWORD: 'app-password' }),
    DEADLINE_MS,
  );
} else {
  skipBecause('no aws', 'the walkthrough');
}

describeServers('the walkthrough,', (server) => {
  const database = useMysql(server);
  const start = useMysqlBerths(database);

  testWith(
    'aws',
    'by the aws command',
    async () => {
      const own = await start({ file: file(), expect: EXPECTED });
      await walk(own, {
        DB_ENGINE: database().product === 'MySQL' ? 'mysql' : 'mariadb',
        DB_PORT: String(database().port),
        DB_PASSWORD: String(loginOf('app').password),
      });
    },
    DEADLINE_MS,
  );
});
