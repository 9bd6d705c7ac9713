/** go-sql-driver/mysql and database/sql, with the settings that they have by themselves. */

import { join } from 'node:path';
import { go } from '../toolchains.ts';
import { mysqlDriverTests } from './languages.ts';

mysqlDriverTests(go(join(import.meta.dir, 'go')), [{ name: 'go-sql-driver/mysql', args: [] }]);
