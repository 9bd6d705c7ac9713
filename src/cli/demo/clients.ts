/**
 * The process of the clients. They have one of their own so that what Berth costs can be told from
 * what they cost, and so that neither waits for the other. It works for one demo, one assignment
 * after the other, and ends with it.
 */

import { visit } from './client.ts';
import { DIALECTS, type Role } from './dialect.ts';
import { type Assignment, parseAssignment, type Report } from './messages.ts';
import { CLIENT_COUNT, WAVES } from './plan.ts';
import { Random } from './random.ts';
import { Tally } from './tally.ts';

const REPORT_INTERVAL_MS = 100;

async function run(assignment: Assignment): Promise<void> {
  const tally = new Tally();
  const { specialRoles } = DIALECTS[assignment.engine];
  const reporting = setInterval(
    () => report({ kind: 'progress', progress: tally.progress }),
    REPORT_INTERVAL_MS,
  );
  const clients = Array.from({ length: CLIENT_COUNT }, async (_, index) => {
    const random = new Random(assignment.seed + index);
    const wave = Math.floor(index / WAVES.clients);
    await Bun.sleep(wave * WAVES.intervalMs + random.next() * WAVES.arrivalMs);
    const stayMs = random.between(WAVES.stayMinMs, WAVES.stayMaxMs);
    await visit({ assignment, role: roleOf(index, specialRoles), stayMs, random, tally });
  });
  await Promise.all(clients);
  clearInterval(reporting);
  report({ kind: 'outcome', outcome: tally.outcome });
}

function roleOf(index: number, special: readonly Role[]): Role {
  return special[(index % WAVES.clients) - WAVES.clients / 2] ?? 'customer';
}

function report(report: Report): void {
  process.send?.(report);
}

// Ctrl-C goes to every process of the terminal; the demo decides what becomes of us.
process.on('SIGINT', () => undefined);
process.on('disconnect', () => process.exit());
process.on('message', (message) => void run(parseAssignment(message)));
