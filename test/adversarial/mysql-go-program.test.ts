/** The program of go-sql-driver again: its output is the same, and nothing pins. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../drivers/mysql/go.test.ts');
