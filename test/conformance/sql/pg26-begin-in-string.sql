-- PG-26: transactions that begin and end in the middle of a message.

create table t (a int);

begin; insert into t values (1);

insert into t values (2); commit; insert into t values (3);

select * from t order by a;

insert into t values (4); rollback; insert into t values (5);

select * from t order by a;

insert into t values (6); begin; insert into t values (7); select 1 / 0; commit;

select 'after the failure';

rollback; select * from t order by a;

begin; insert into t values (8); commit; begin; insert into t values (9); rollback; select * from t order by a; begin;

select 'inside'; commit;

commit;

begin; begin; commit; commit;
