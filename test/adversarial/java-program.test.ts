/** The program of pgjdbc and HikariCP again: its output is the same, and nothing pins. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../drivers/java.test.ts');
