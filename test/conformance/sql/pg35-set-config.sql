-- PG-35: set_config, wherever it stands in an expression.

select set_config('work_mem', '6MB', false);

show work_mem;

select set_config('work_mem', '7MB', true);

show work_mem;

begin;

select set_config('work_mem', '8MB', true), 1;

show work_mem;

rollback;

select upper(set_config('my.name', 'v' || i, false)) from generate_series(1, 2) i;

show my.name;

select set_config('search_path', '', false);

select * from pg_class limit 0;

with changed as materialized (select pg_catalog.set_config('timezone', 'Asia/Tokyo', false)) select * from changed;

show timezone;

select set_config('no_such', 'x', false);
