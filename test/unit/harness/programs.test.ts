/** The client programs that tests run, against a real database. */

import { expect } from 'bun:test';
import { usePostgres } from '../../harness/postgres.ts';
import { psql, runProgram, testWith } from '../../harness/programs.ts';

const database = usePostgres();

testWith('psql', 'psql runs a script and stops at its first error', async () => {
  const { port } = database();
  const fine = await psql('select 1; select current_user;', { port });
  expect(fine).toEqual({ code: 0, stdout: '1\napp\n', stderr: '' });
  const failed = await psql('select 1 / 0; select 2;', { port });
  expect(failed.code).toBe(3);
  expect(failed.stdout).toBe('');
  expect(failed.stderr).toContain('division by zero');
});

testWith('pgbench', 'pgbench fills a database', async () => {
  const { port } = database();
  const result = await runProgram('pgbench', ['--initialize', '--quiet'], { port });
  expect(result.code).toBe(0);
});
