/** Every conformance case of MySQL and MariaDB again, and whatever is done to Berth meanwhile the answers are the same. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../conformance/mysql/conformance.test.ts');
