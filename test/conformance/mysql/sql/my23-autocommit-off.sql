-- MY-23: without autocommit a transaction begins by itself; the statement that switches it can be hidden.
-- pool: 2

create table t (a int primary key) engine=innodb;

set autocommit = 0;

select @@autocommit;

select 1;

insert into t values (1);

\session b

select count(*) from t, (select @@autocommit) as x;

\session a

rollback;

select count(*) from t;

insert into t values (2);

commit;

set autocommit = 1;

insert into t values (3);

rollback;

select * from t order by a;

set @a = (select 1), autocommit = 0;

insert into t values (4);

rollback;

prepare on_again from 'set autocommit = 1';

execute on_again;

insert into t values (5);

rollback;

select * from t order by a;
