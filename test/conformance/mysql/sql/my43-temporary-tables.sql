-- MY-43, MY-44: temporary tables in every spelling belong to the session.
-- pool: 2

create temporary table t1 (a int);

create table if not exists normal (a int);

create temporary table if not exists t2 engine=innodb as select 1 as a;

/*!50000 create temporary table t3 (a int) */;

/* before */ CREATE /* between */ TEMPORARY TABLE t4 LIKE normal;

prepare s from 'create temporary table t5 (a int)'; execute s; deallocate prepare s;

insert into t1 values (1); insert into t3 values (3); insert into t4 values (4); insert into t5 values (5);

select t1.a, t2.a, t3.a, t4.a, t5.a from t1, t2, t3, t4, t5;

\session b

select * from t1;

select * from t5;

\session a

drop temporary table t1, t2, t3, t4;

select * from t5;

drop table t5;

select * from t5;

begin; create temporary table t6 (a int); insert into t6 values (1); rollback;

select count(*) from t6;

\connect

select * from t6;
