/**
 * Loaded before Berth's own program by `test/adversarial/berth`: makes the world around Berth, and the
 * order in which its connections are used, as bad as they can be without being wrong. Everything
 * that a client sees must be as ever. What it does comes from BERTH_ADVERSARY (`modes.ts`), in an
 * order that BERTH_ADVERSARY_SEED chooses. It tells its seed when it begins, and what it did when it ends.
 */

import { writeSync } from 'node:fs';
import { Random } from '../soak/random.ts';
import { moveSessions } from './connections.ts';
import { ADVERSARY_SEED_VARIABLE, ADVERSARY_VARIABLE, parseModes } from './modes.ts';
import { moveMysqlSessions } from './mysql-connections.ts';
import { makeSocketsHostile } from './sockets.ts';
import { newTally } from './tally.ts';

const SEED_MAX = 2 ** 31;
const STDERR = 2;

const modes = new Set(parseModes(process.env[ADVERSARY_VARIABLE] ?? 'connections,bytes,stalls'));
const given = process.env[ADVERSARY_SEED_VARIABLE];
const seed = given === undefined ? Math.floor(Math.random() * SEED_MAX) : Number(given);
const tally = newTally();

if (modes.has('connections')) {
  const isCareless = modes.has('careless');
  moveSessions({ random: new Random(seed, 1), tally, isCareless });
  moveMysqlSessions({ random: new Random(seed, 3), tally, isCareless });
}
if (modes.has('bytes') || modes.has('stalls')) {
  makeSocketsHostile({
    random: new Random(seed, 2),
    tally,
    isCutting: modes.has('bytes'),
    isStalling: modes.has('stalls'),
  });
}

function tell(event: string, fields: object): void {
  writeSync(STDERR, `${JSON.stringify({ level: 'info', event, msg: event, ...fields })}\n`);
}

tell('adversary.began', { modes: [...modes], seed });
process.on('exit', () => tell('adversary.ended', { seed, ...tally }));
