-- MY-41: FOUND_ROWS and ROW_COUNT tell of the statement before.

create table t (a int); insert into t values (1), (2), (3), (4), (5);

select sql_calc_found_rows * from t order by a limit 2;

select found_rows();

select * from t where a > 3;

select found_rows();

update t set a = a + 1 where a > 2;

select row_count();

select row_count();

delete from t;

select row_count();

insert into t values (1), (2);

select row_count(), found_rows();

update t set a = a;

select row_count();

select * from nowhere;

select row_count();

do 1;

select row_count();
