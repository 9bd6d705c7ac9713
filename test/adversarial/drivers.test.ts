/** Real clients in front of an adversary: they pin no more, and notice nothing. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections'], '../integration/drivers.test.ts');
