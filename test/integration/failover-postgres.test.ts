/** Failovers of a PostgreSQL primary with two streaming replicas, under load. */

import { describeClusters } from '../harness/cluster/clusters.ts';
import { testFailovers } from './failover-cases.ts';

describeClusters(
  'failovers',
  (kind) =>
    testFailovers(kind, { faults: ['kill', 'hang', 'stop', 'promote', 'drop'], flaps: 100 }),
  ['postgres'],
);
