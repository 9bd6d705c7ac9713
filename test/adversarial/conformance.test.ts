/** Every conformance case again, and whatever is done to Berth meanwhile the answers are the same. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../conformance/conformance.test.ts');
