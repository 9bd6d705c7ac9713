-- MY-23: two sessions see of each other what is committed, and nothing else.
-- pool: 2

create table t (a int primary key);

begin;

insert into t values (1);

\session b

select count(*) from t;

begin;

select count(*) from t;

\session a

commit;

\session b

select count(*) from t;

commit;

select count(*) from t;

\session a

select count(*) from t;
