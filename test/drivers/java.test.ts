/** pgjdbc with HikariCP, with the settings that they have by themselves. */

import { driverTests } from './languages.ts';
import { java } from './toolchains.ts';

driverTests(java(), [
  { name: 'pgjdbc and HikariCP', args: [] },
  { name: 'LISTEN and NOTIFY: pgjdbc', args: ['listen'] },
]);
