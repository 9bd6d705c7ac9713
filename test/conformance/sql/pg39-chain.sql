-- PG-39: AND CHAIN begins the next transaction with the same characteristics.

create table t (a int);

begin isolation level repeatable read;

insert into t values (1);

commit and chain;

show transaction_isolation;

insert into t values (2);

rollback and chain;

show transaction_isolation;

select 1 / 0;

commit and chain;

select * from t;

rollback;

select * from t;

commit and chain;

rollback and chain;

begin; select 1 / 0;

rollback and chain; select 'inside';

commit;
