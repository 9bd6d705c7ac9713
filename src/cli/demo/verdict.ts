/** Judges what was measured: what must not happen through Berth, and whether the money is all there. */

import type { Audit } from './bank.ts';
import { BANK, LIMITS } from './plan.ts';
import type { RunResult } from './run.ts';
import { formatCount, formatNumber } from './text.ts';
import type { Usage } from './usage.ts';

/** Everything that was measured. */
export interface Findings {
  /** `PostgreSQL` */
  readonly product: string;
  readonly direct: RunResult;
  readonly berth: RunResult;
  readonly usage: Usage;
  readonly audit: Audit;
}

/** What failed that should not have; empty when all is well. */
export function problemsOf(findings: Findings): readonly string[] {
  return [...runProblems(findings), ...bankProblems(findings)];
}

function runProblems({ product, direct, berth, usage }: Findings): readonly string[] {
  const { turnedAway, failed } = berth.outcome;
  return [
    direct.outcome.failed > 0 &&
      `Straight to ${product}, ${formatNumber(direct.outcome.failed, 'client')} failed.`,
    turnedAway > 0 && `Berth turned ${formatNumber(turnedAway, 'client')} away.`,
    failed > 0 && `Through Berth, ${formatNumber(failed, 'client')} failed.`,
    berth.connectionsMost > LIMITS.poolConnections &&
      `Berth held ${berth.connectionsMost} connections, and may have ${LIMITS.poolConnections}.`,
    ...usage.complaints.map((text) => `Berth's log: ${text}`),
  ].filter((problem) => problem !== false);
}

export function bankProblems({ direct, berth, audit }: Findings): readonly string[] {
  const expected = BANK.accounts * BANK.balance;
  const transfers = direct.outcome.transfers + berth.outcome.transfers;
  return [
    audit.total !== expected &&
      `The accounts hold ${formatCount(audit.total)} instead of ${formatCount(expected)}.`,
    audit.transfers !== transfers &&
      `The database has ${formatNumber(audit.transfers, 'transfer')}, the clients made ${formatCount(transfers)}.`,
    audit.wrong > 0 && `${formatNumber(audit.wrong, 'balance')} are not what the transfers say.`,
  ].filter((problem) => problem !== false);
}
