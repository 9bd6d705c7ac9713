/** Start-up settings on connections that had others. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../integration/settings.test.ts');
