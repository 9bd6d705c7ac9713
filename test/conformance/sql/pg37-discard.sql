-- PG-37, PG-57: DISCARD and what it takes away.

set work_mem = '6MB';

create temp table t (a int);

prepare p as select 1;

listen channel;

select pg_advisory_lock(9);

discard plans;

execute p;

discard all;

show work_mem;

select * from t;

execute p;

select pg_listening_channels();

select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();

begin;

discard all;

rollback;

discard all; select 1;
