-- PG-37, PG-57: statements that are prepared in SQL.

prepare one as select 1;

execute one;

prepare two(int, text) as select $1 + 1, upper($2);

execute two(41, 'x');

execute two(1);

prepare one as select 2;

select name, parameter_types from pg_prepared_statements where from_sql order by name;

explain (costs off) execute one;

create table t as execute one;

deallocate one;

execute one;

deallocate prepare two;

prepare three as select 3;

deallocate all;

execute three;

begin;

prepare kept as select 'survives a rollback';

rollback;

execute kept;

deallocate kept;
