/** Failovers of a MariaDB primary with two replicas that follow by GTID, under load. */

import { describeClusters } from '../harness/cluster/clusters.ts';
import { testFailovers } from './failover-cases.ts';

describeClusters(
  'failovers',
  (kind) =>
    testFailovers(kind, {
      faults: ['kill', 'hang', 'stop', 'promote', 'drop', 'switchover'],
      flaps: 20,
    }),
  ['mariadb'],
);
