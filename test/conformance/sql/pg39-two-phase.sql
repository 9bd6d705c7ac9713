-- PG-39: prepared transactions.

create table t (a int);

begin;

insert into t values (1);

prepare transaction 'first';

select count(*) from t;

commit prepared 'first';

select count(*) from t;

begin;

insert into t values (2);

prepare transaction 'second';

rollback prepared 'second';

select count(*) from t;

prepare transaction 'outside';

begin;

select 1 / 0;

prepare transaction 'failed';

select 1;

commit prepared 'nothing';

begin;

commit prepared 'first';

rollback;
