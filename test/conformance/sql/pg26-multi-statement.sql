-- PG-26: several statements in one message are one implicit transaction.

create table t (a int); insert into t values (1), (2); select * from t order by a;

insert into t values (3); select 1 / 0; insert into t values (4);

select * from t order by a;

insert into t values (5); select 1;; ; select 2;

insert into t values (6); selec;

select * from t order by a;
