/** Clients that listen, while their statements never run twice on the same connection. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections'], '../integration/notifications.test.ts');
