-- MY-23: a change of the schema commits what was open.

create table t (a int primary key);

begin;

insert into t values (1);

create table u (b int);

rollback;

select * from t;

begin;

insert into t values (2);

create temporary table v (c int);

rollback;

select * from t;

begin;

lock tables t write;

insert into t values (3);

unlock tables;

rollback;

select count(*) from t;

begin;

begin;

insert into t values (9);

truncate table u;

rollback;

select count(*) from t;
