/** Every conformance case again, in front of an adversary. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections','bytes','stalls'], '../conformance/conformance.test.ts');
