-- PG-22: an error fails the transaction; nothing else runs until it ends.

create table t (a int check (a > 0));

begin;

insert into t values (1);

insert into t values (-1);

select 1;

insert into t values (2);

commit;

select * from t;

begin;

select 1 / 0;

rollback;

select 'usable again';
