-- MY-23: what a transaction does is seen when it is over, and the status says when it is.

create table t (a int primary key, b varchar(10));

begin;

insert into t values (1, 'one');

select * from t;

rollback;

select count(*) from t;

start transaction;

insert into t values (2, 'two');

commit;

select * from t;

start transaction read only;

select * from t;

insert into t values (3, 'three');

commit and chain;

insert into t values (4, 'four');

rollback and no chain;

begin; insert into t values (5, 'five'); commit;

select * from t order by a;

start transaction with consistent snapshot;

commit work;
