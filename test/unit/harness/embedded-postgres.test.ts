/** The throwaway PostgreSQL itself: logins of every kind, restarts, kills, and leaving nothing behind. */

import { describe, expect, spyOn, test } from 'bun:test';
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  watch,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parsePasswd } from '../../../src/embedded/account.ts';
import { contentsScript, quoteText } from '../../../src/embedded/data-directory.ts';
import { linkLibraries } from '../../../src/embedded/installation.ts';
import { textRows } from '../../harness/backend-messages.ts';
import { Arrivals } from '../../harness/deadline.ts';
import {
  adminQuery,
  availablePostgres,
  startPostgres,
  usePostgres,
} from '../../harness/postgres.ts';
import { LoginError, RawClient } from '../../harness/raw-client.ts';

const AWKWARD_PASSWORD = 'a\'b"\\c\nd;\n\né';

/** User, password, and what the server asks for. */
const LOGINS: readonly (readonly [string, string, readonly string[]])[] = [
  ['trusted', '', []],
  ['clear', AWKWARD_PASSWORD, ['password']],
  ['digest', 'm', ['md5']],
  ['scram', AWKWARD_PASSWORD, ['scram-sha-256']],
  ['default', 'd', ['scram-sha-256']],
];

for (const { name, options } of availablePostgres()) {
  describe(name, () => {
    const database = usePostgres({
      ...options,
      users: [
        { name: 'trusted', method: 'trust' },
        { name: 'clear', password: AWKWARD_PASSWORD, method: 'password' },
        { name: 'digest', password: 'm', passwordEncryption: 'md5', method: 'md5' },
        { name: 'scram', password: AWKWARD_PASSWORD, method: 'scram-sha-256' },
        { name: 'default', password: 'd', attributes: 'CONNECTION LIMIT 7' },
      ],
      authentication: { hostnossl: 'scram-sha-256' },
    });

    for (const [user, password, methods] of LOGINS) {
      test(`user ${user} logs in as it is configured`, async () => {
        const login = { user, password, database: 'app' };
        const client = await RawClient.login({ port: database().port }, login);
        expect(client.authentication).toEqual(methods);
        expect(textRows(await client.query('select current_user'))).toEqual([[user]]);
        await client.end();
      });
    }

    test('a wrong password is refused', async () => {
      const login = { user: 'scram', password: 'wrong', database: 'app' };
      const refused = RawClient.login({ port: database().port }, login);
      await expect(refused).rejects.toBeInstanceOf(LoginError);
    });

    test('comes back on its port after restart, shutdown and SIGKILL', async () => {
      const { port } = database();
      await database().restart();
      await database().shutDown('immediate');
      expect(database().isRunning).toBe(false);
      await database().startUp();
      database().kill('SIGKILL');
      await database().exited;
      await database().startUp();
      expect(database().port).toBe(port);
      expect(await adminQuery(database(), 'select 1 as one')).toEqual([{ one: '1' }]);
    });

    test('takes new settings', async () => {
      await database().configure({ work_mem: '7MB' });
      expect(await adminQuery(database(), 'show work_mem')).toEqual([{ work_mem: '7MB' }]);
    });
  });
}

test('a port that is taken is passed over', async () => {
  await using first = await startPostgres();
  const portMin = 15_000;
  const taken = (first.port - portMin + 0.5) / 15_000;
  const random = spyOn(Math, 'random').mockReturnValueOnce(taken);
  await using second = await startPostgres();
  expect(random.mock.calls.length).toBeGreaterThanOrEqual(2);
  random.mockRestore();
  expect(second.port).not.toBe(first.port);
});

test('stop leaves no file and no process', async () => {
  const database = await startPostgres();
  const { folder, pid } = database;
  await database.stop();
  expect(existsSync(folder)).toBe(false);
  expect(() => process.kill(pid, 0)).toThrow();
});

test('the database does not outlive a killed owner', async () => {
  const script = `
    import { EmbeddedPostgres } from '${import.meta.dir}/../../../src/embedded/postgres.ts';
    const database = await EmbeddedPostgres.start();
    console.log(JSON.stringify({ folder: database.folder, socket: database.socketDirectory, port: database.port }));
    setInterval(() => {}, 1000);`;
  const owner = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = await owner.stdout.take(1).toArray();
  const { folder, socket, port } = JSON.parse(String(line));
  const login = { user: 'postgres', database: 'postgres' };
  const client = await RawClient.login({ socketDirectory: socket, port }, login);
  owner.kill('SIGKILL');
  await client.untilClosed();
  await untilGone(folder);
});

/** The keeper removes the folder a moment after the database has gone. */
async function untilGone(folder: string): Promise<void> {
  const changes = new Arrivals<string | null>();
  const watcher = watch(dirname(folder), (_, name) => changes.push(name));
  await changes.until(() => (existsSync(folder) ? undefined : true), `the end of ${folder}`);
  watcher.close();
}

test('missing library links are made, once', () => {
  const native = mkdtempSync(join(tmpdir(), 'berth-links-'));
  try {
    const links = [{ source: 'native/liba.so.1.2', target: 'native/liba.so' }];
    const folder = join(native, 'native');
    mkdirSync(folder);
    writeFileSync(join(folder, 'liba.so.1.2'), '');
    writeFileSync(join(folder, 'pg-symlinks.json'), JSON.stringify(links));
    linkLibraries(folder);
    linkLibraries(folder);
    expect(readlinkSync(join(folder, 'liba.so'))).toBe('liba.so.1.2');
  } finally {
    rmSync(native, { recursive: true });
  }
});

test('accounts are read from passwd, without root', () => {
  const passwd = 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65533:n:/:/bin/false\n\nbroken\n';
  expect(parsePasswd(passwd)).toEqual([{ name: 'nobody', uid: 65534, gid: 65533 }]);
});

test('names and passwords are quoted', () => {
  expect(quoteText("it's \\ here")).toBe("E'it''s \\\\ here'");
  const script = contentsScript({ users: [{ name: 'a"b' }], databases: [{ name: 'c"d' }] });
  expect(script).toContain('CREATE ROLE "a""b" LOGIN');
  expect(script).toContain('CREATE DATABASE "c""d" OWNER "a""b"');
});
