/**
 * PG-73: whatever a client does with its channels, in whatever transactions, it hears afterwards what
 * it would hear on a direct connection. Where an UNLISTEN is in doubt it may hear more, never less.
 */

import { expect, setDefaultTimeout, test } from 'bun:test';
import fc from 'fast-check';
import { sqlStates } from '../harness/backend-messages.ts';
import { useBerth } from '../harness/berth.ts';
import * as frontend from '../harness/frontend-messages.ts';
import { adminQuery, usePostgres } from '../harness/postgres.ts';
import type { RawClient } from '../harness/raw-client.ts';
import { loginDirectly, untilAllReturned } from './side-by-side.ts';

const RUNS = 80;
setDefaultTimeout(120_000);

const { bind, execute, parse, query, sync } = frontend;

const database = usePostgres();
const berth = useBerth(() => ({ database: database(), pool: { MaxConnections: 4 } }));

const CHANNELS = ['a', 'b', 'c'] as const;
/** Everybody listens to it at the end, and it is notified last. */
const LAST = 'the_last';

const text = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...CHANNELS).map((name) => `listen ${name}`) },
  { weight: 3, arbitrary: fc.constantFrom(...CHANNELS).map((name) => `unlisten ${name}`) },
  { weight: 1, arbitrary: fc.constantFrom('listen a; listen b', 'unlisten *') },
  { weight: 1, arbitrary: fc.constantFrom('listen c; unlisten a', 'unlisten b; listen b') },
  { weight: 4, arbitrary: fc.constantFrom('begin', 'commit', 'rollback') },
  { weight: 2, arbitrary: fc.constantFrom('savepoint s', 'rollback to s', 'release s') },
  {
    weight: 1,
    arbitrary: fc.constantFrom('select 1', 'select 1/0', "notify a, 'x'", 'discard all'),
  },
);
/** Statements of one write: one after the other, or pipelined. */
const step = fc.record({
  texts: fc.array(text, { minLength: 1, maxLength: 3 }),
  isExtended: fc.boolean(),
});
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

/** Returns how many errors there were. */
async function play(client: RawClient, steps: readonly Step[]): Promise<number> {
  let errors = 0;
  for (const { texts, isExtended } of steps) {
    const messages = texts.flatMap((each) =>
      isExtended && !each.includes(';')
        ? [parse('', each), bind(), execute(), sync()]
        : [query(each)],
    );
    client.send(...messages);
    errors += sqlStates(await client.untilReady(texts.length)).length;
  }
  await client.query('rollback');
  // Nothing that has been notified so far is looked at.
  await client.query(`listen ${LAST}`);
  return errors;
}

/** The channels on which the client hears something now. */
async function heardBy(client: RawClient, mark: string): Promise<string[]> {
  const heard: string[] = [];
  for (;;) {
    const message = await client.next();
    if (message.type !== 'A') continue;
    const [channel = '', payload = ''] = message.body.toString('utf8', 4).split('\0');
    if (payload !== mark) continue;
    if (channel === LAST) return heard.toSorted();
    heard.push(channel);
  }
}

/**
 * An UNLISTEN may share its fate with something that was undone, in a way that the proxy does not
 * follow: an error, a savepoint, or a BEGIN or ROLLBACK in the same pipeline.
 */
function isDoubtful(steps: readonly Step[], errors: number): boolean {
  const all = steps.flatMap(({ texts }) => texts);
  if (!all.some((each) => each.includes('unlisten'))) return false;
  const isUndonePipelined = steps.some(
    ({ texts }) =>
      texts.length > 1 && texts.some((each) => each === 'begin' || each === 'rollback'),
  );
  return errors > 0 || all.includes('rollback to s') || isUndonePipelined;
}

let run = 0;

test('what is heard afterwards', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (steps) => {
      const mark = `run ${++run}`;
      using direct = await loginDirectly(database());
      using client = await berth().login();
      const errors = await play(direct, steps);
      expect(await play(client, steps)).toBe(errors);
      for (const name of [...CHANNELS, LAST]) {
        await adminQuery(database(), `notify ${name}, '${mark}'`);
      }
      const expected = await heardBy(direct, mark);
      const heard = await heardBy(client, mark);
      expect(heard).toEqual(expect.arrayContaining(expected));
      if (!isDoubtful(steps, errors)) expect(heard).toEqual(expected);
      await client.end();
    }),
    { numRuns: RUNS },
  );
  await untilAllReturned(berth());
  expect(await berth().metric('berth_session_pins_total')).toBe(0);
});
