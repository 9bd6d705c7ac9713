/** Random use of prepared statements in front of an adversary. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections'], '../integration/prepared-random.test.ts');
