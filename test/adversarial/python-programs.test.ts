/** The programs of psycopg, asyncpg and SQLAlchemy again: their output is the same, and nothing pins. */

import { useAdversary } from '../harness/adversary.ts';

await useAdversary(['connections', 'bytes', 'stalls'], '../drivers/python.test.ts');
