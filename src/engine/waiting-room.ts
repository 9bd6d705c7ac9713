/**
 * Where clients wait while nobody has the role that they have joined: a group of pools without any permits.
 * They wait there as long as they would for a connection, or are refused at once.
 */

import type { ErrorCode } from '../base/errors.ts';
import type { TimerWheel } from '../base/timer-wheel.ts';
import { ConnectionBudget } from '../pool/budget.ts';
import type { Connector, PooledConnection, PoolSettings } from '../pool/contract.ts';
import { PoolGroup } from '../pool/pool-group.ts';
import type { Waiting } from './contract.ts';

/** Nobody has a connection where there is no database. */
const NO_CONNECTIONS = {
  maxConnections: 0,
  limitedBy: 'MaxConnections',
  maxIdleConnections: 0,
} as const;

/** Opens nothing: without permits it is never asked to. */
const NOWHERE: Connector<never> = {
  open() {
    throw new Error('there is no database to open a connection to');
  },
};

/** `refusal`: what everybody is told at once in place of waiting. */
export function waitingRoom<C extends PooledConnection>(
  { target, counters, reason }: Waiting,
  wheel: TimerWheel,
  settings: PoolSettings,
  refusal?: ErrorCode,
): PoolGroup<C> {
  return new PoolGroup<C>({
    target,
    budget: new ConnectionBudget(NO_CONNECTIONS),
    wheel,
    settings,
    counters,
    random: Math.random,
    doubted: () => {},
    connectorFor: () => NOWHERE,
    obstacle: reason,
    ...(refusal === undefined ? {} : { refusal }),
  });
}
