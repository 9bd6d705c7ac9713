/** pgx, its pool and its door to database/sql, with the settings that they have by themselves. */

import { driverTests } from './languages.ts';
import { go } from './toolchains.ts';

driverTests(go(), [
  { name: 'pgx', args: [] },
  { name: 'LISTEN and NOTIFY: pgx', args: ['listen'] },
]);
