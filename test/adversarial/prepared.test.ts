/** Prepared statements of sessions that never stay where they prepared them. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections'], '../integration/prepared.test.ts');
