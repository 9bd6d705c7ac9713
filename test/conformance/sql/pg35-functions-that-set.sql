-- PG-35: settings that change inside functions and blocks.

create function with_clause() returns text language sql set timezone = 'Asia/Tokyo' as $$ select current_setting('timezone') $$;

select with_clause();

show timezone;

create function sets() returns void language plpgsql as $$ begin perform set_config('timezone', 'Europe/Paris', false); end $$;

begin;

select sets();

show timezone;

rollback;

show timezone;

do $$ begin execute 'set my.block = 1'; end $$;

show my.block;

begin;

do $$ begin set local work_mem = '7MB'; end $$;

show work_mem;

rollback;

show work_mem;
