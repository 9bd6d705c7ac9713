/** Start-up settings on connections that had others. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections'], '../integration/settings.test.ts');
