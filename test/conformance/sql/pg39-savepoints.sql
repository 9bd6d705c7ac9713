-- PG-39: savepoints, nested, released, rolled back to.

create table t (a int);

savepoint nowhere;

begin;

insert into t values (1);

savepoint one;

insert into t values (2);

savepoint two;

select 1 / 0;

select 1;

rollback to savepoint two;

insert into t values (3);

release savepoint two;

rollback to two;

rollback to one;

insert into t values (4);

savepoint one;

insert into t values (5);

release one;

commit;

select * from t order by a;

begin; savepoint s; select 1 / 0; rollback to s; commit;

rollback to s;

rollback;

release savepoint s;
