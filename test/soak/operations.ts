/** Everything that an actor may do in the middle of a session, with how often. */

import { COPY_OPERATIONS } from './operations-copy.ts';
import { NAME_OPERATIONS } from './operations-names.ts';
import { PROTOCOL_OPERATIONS } from './operations-protocol.ts';
import { SETTING_OPERATIONS } from './operations-settings.ts';
import { SIMPLE_OPERATIONS } from './operations-simple.ts';
import { STATE_OPERATIONS } from './operations-state.ts';
import { TRANSACTION_OPERATIONS } from './operations-transaction.ts';
import type { Random } from './random.ts';
import type { Session } from './session.ts';

export interface Operation {
  readonly name: string;
  readonly weight: number;
  /** It leaves something in the session, so a pool that does not pin cannot have it. */
  readonly needsPinning: boolean;
  run(session: Session, random: Random, ledger: RowLedger): Promise<void>;
}

/** What an actor's own row may hold: more than one value while a commit's outcome is unknown. */
export interface RowLedger {
  possible: readonly string[];
}

export const OPERATIONS: readonly Operation[] = [
  ...SIMPLE_OPERATIONS,
  ...TRANSACTION_OPERATIONS,
  ...PROTOCOL_OPERATIONS,
  ...COPY_OPERATIONS,
  ...STATE_OPERATIONS,
  ...NAME_OPERATIONS,
  ...SETTING_OPERATIONS,
];
