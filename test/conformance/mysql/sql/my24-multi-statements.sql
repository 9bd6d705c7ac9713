-- MY-24: several statements in one command, several results.

select 1; select 'two', null; select 3

create table t (a int auto_increment primary key, b int); insert into t (b) values (10), (20); select * from t; update t set b = b + 1; select row_count()

begin; select 1; commit

select 1; begin; insert into t (b) values (30)

select count(*) from t

rollback

select count(*) from t; ; 

;

select 1;

/* nothing */

-- nothing
