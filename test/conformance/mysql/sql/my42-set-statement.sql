-- MY-42: MariaDB's SET STATEMENT is for one statement.
-- only: MariaDB

set statement sql_mode = 'ANSI_QUOTES', max_statement_time = 10 for select @@sql_mode, "a" from (select 1 as a) as x;

select @@sql_mode = @@global.sql_mode, @@max_statement_time;

set statement autocommit = 0 for select 1;

select @@autocommit;
