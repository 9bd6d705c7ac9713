/** COPY in front of an adversary. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections'], '../integration/copy.test.ts');
