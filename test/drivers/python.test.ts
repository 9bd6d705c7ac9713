/** psycopg 3, asyncpg and SQLAlchemy with the settings that they have by themselves. */

import { driverTests } from './languages.ts';
import { python } from './toolchains.ts';

driverTests(python(), [
  { name: 'psycopg', args: ['psycopg_program.py'] },
  { name: 'asyncpg', args: ['asyncpg_program.py'] },
  { name: 'SQLAlchemy on psycopg', args: ['sqlalchemy_program.py', 'psycopg'] },
  { name: 'SQLAlchemy on asyncpg', args: ['sqlalchemy_program.py', 'asyncpg'] },
  { name: 'LISTEN and NOTIFY: psycopg', args: ['psycopg_program.py', 'listen'] },
  { name: 'LISTEN and NOTIFY: asyncpg', args: ['asyncpg_program.py', 'listen'] },
]);
