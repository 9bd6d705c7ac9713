-- MY-24, MY-23: an error ends the rest of the command, and not what was before it.

create table t (a int primary key);

insert into t values (1); insert into t values (1); insert into t values (2)

select * from t

begin; insert into t values (3); select nothing; insert into t values (4)

select * from t

rollback

select * from t

select 1; syntax error

show errors

begin; insert into t values (7); insert into t values (7)

commit

select * from t
