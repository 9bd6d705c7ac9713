-- PG-28: COPY inside transactions, and its failure there.

create table t (a int);

begin;

copy t from stdin;
1
2
\.

savepoint s;

copy t from stdin;
bad
\.

select 1;

rollback to s;

copy t from stdin;
3
\.

commit;

select * from t order by a;

begin; copy t from stdin; commit; select count(*) from t;
4
\.

insert into t values (10); copy t from stdin; select 1 / 0;
11
\.

select * from t order by a;
