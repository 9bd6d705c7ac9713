/** PyMySQL, with the settings that it has by itself. */

import { join } from 'node:path';
import { python } from '../toolchains.ts';
import { mysqlDriverTests } from './languages.ts';

mysqlDriverTests(python(join(import.meta.dir, 'python')), [
  { name: 'PyMySQL', args: ['pymysql_program.py'] },
]);
