-- PG-20, PG-34: two sessions that take turns on one connection keep their settings apart.

set timezone = 'Asia/Tokyo'; set search_path = a_schema; reset all;

\connect

\session b

show timezone;

\session a

create table t (a int);

\session b

insert into t values (1);

\session a

begin; insert into t values (2); commit;

\session b

select * from t order by a;
