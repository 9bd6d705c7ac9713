/** The programs of mysql2, MariaDB's connector and Drizzle again: their output is the same, and nothing pins. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../drivers/mysql/javascript.test.ts');
