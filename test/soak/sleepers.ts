/**
 * Clients that stop in the middle and stay, until the proxy's clocks end them: silent before and
 * during the login, idle, in a transaction, in half a batch, in a COPY, in half a message. That a
 * clock ends each of them in time is judged, too.
 */

import { parse, query, startup } from '../../bench/wire/messages.ts';
import { ConnectionEnded, RawClient } from '../../bench/wire/raw-client.ts';
import type { Stage } from './actor.ts';
import { COPY_TABLE } from './operations-copy.ts';
import type { Random } from './random.ts';

/** Beyond the longest of the clocks. */
const PATIENCE_MS = 90_000;

interface Sleep {
  readonly name: string;
  readonly isLoggedIn: boolean;
  readonly words: readonly Buffer[];
}

function sleeps({ credentials }: Stage): readonly Sleep[] {
  const { user, database } = credentials;
  const long = query('select 1');
  return [
    { name: 'asleep before its start-up packet', isLoggedIn: false, words: [] },
    { name: 'asleep in SCRAM', isLoggedIn: false, words: [startup({ user, database })] },
    { name: 'asleep while idle', isLoggedIn: true, words: [query('select 1')] },
    { name: 'asleep in a transaction', isLoggedIn: true, words: [query('begin')] },
    { name: 'asleep in a batch', isLoggedIn: true, words: [parse('', 'select 1')] },
    {
      name: 'asleep in COPY',
      isLoggedIn: true,
      words: [query(`copy ${COPY_TABLE} (marker) from stdin`)],
    },
    { name: 'asleep in a message', isLoggedIn: true, words: [long.subarray(0, long.length - 2)] },
    { name: 'asleep and pinned', isLoggedIn: true, words: [query('listen nobody')] },
  ];
}

/** One sleeper after the other until the soak is over. */
export async function sleepAgainAndAgain(stage: Stage, random: Random): Promise<void> {
  while (!stage.isOver()) {
    const sleep = random.pick(sleeps(stage));
    const { address, credentials, findings } = stage;
    const client = await (sleep.isLoggedIn
      ? RawClient.connect(address, credentials)
      : RawClient.open(address)
    ).catch(() => undefined);
    if (client === undefined) continue;
    client.send(...sleep.words);
    const isEnded = await endOf(client, stage);
    client.reset();
    if (isEnded) findings.count(sleep.name);
    else if (!stage.isOver()) findings.violation('stuck', `${sleep.name}, and nobody ends it`);
  }
}

async function endOf(client: RawClient, { isOver }: Stage): Promise<boolean> {
  const deadline = Date.now() + PATIENCE_MS;
  const watch = setInterval(() => {
    if (isOver() || Date.now() > deadline) client.reset();
  }, 250);
  try {
    for (;;) await client.receive();
  } catch (error) {
    if (!(error instanceof ConnectionEnded)) throw error;
    return !isOver() && Date.now() <= deadline;
  } finally {
    clearInterval(watch);
  }
}
