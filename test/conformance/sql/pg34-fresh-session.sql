-- PG-34, PG-35: a new session has none of what the last one did.

set search_path = somewhere;

set timezone = 'Asia/Tokyo';

set application_name = 'the first';

set my.own = 'value';

create temporary table mine (a int);

prepare p as select 1;

listen channel;

select pg_advisory_lock(77);

set role app;

\connect

show search_path;

show timezone;

show application_name;

select current_user;

select to_regclass('pg_temp.mine');

select * from mine;

execute p;

select pg_listening_channels();

select name from pg_prepared_statements;

select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();
