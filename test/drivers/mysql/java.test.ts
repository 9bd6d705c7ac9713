/** Connector/J with HikariCP, with the settings that they have by themselves, and those that HikariCP recommends. */

import { join } from 'node:path';
import { java } from '../toolchains.ts';
import { mysqlDriverTests } from './languages.ts';

mysqlDriverTests(java(join(import.meta.dir, 'java')), [
  { name: 'Connector/J and HikariCP', args: [] },
]);
