/** The program of pgx again: its output is the same, and nothing pins. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../drivers/go.test.ts');
