-- MY-43: savepoints, inside of a transaction and outside.

create table t (a int primary key);

savepoint lonely;

rollback to savepoint lonely;

begin;

insert into t values (1);

savepoint one;

insert into t values (2);

rollback to one;

release savepoint one;

rollback to one;

insert into t values (3);

commit;

select * from t order by a;

set autocommit = 0; savepoint s; insert into t values (4); rollback to savepoint s; commit; set autocommit = 1;

select * from t order by a;
