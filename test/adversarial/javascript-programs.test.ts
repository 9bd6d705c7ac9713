/** The programs of node-postgres, postgres.js and Drizzle again: their output is the same, and nothing pins. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../drivers/javascript.test.ts');
