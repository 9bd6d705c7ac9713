-- MY-42: SET TRANSACTION is for the next one, SET SESSION TRANSACTION for all that follow.

create table t (a int);

set transaction read only;

begin;

insert into t values (1);

commit;

begin;

insert into t values (2);

commit;

set session transaction isolation level read committed, read only;

insert into t values (3);

select variable_value from (select @@sql_safe_updates as variable_value) as x;

begin read write;

insert into t values (4);

commit;

set session transaction read write;

insert into t values (5);

set transaction isolation level serializable;

select count(*) from t;

begin;

set transaction read only;

commit;

select a from t order by a;
