-- PG-33: notices of every level, among rows and before errors.

do $$ begin raise notice 'one'; raise notice 'two' using detail = 'd', hint = 'h'; raise warning 'three'; raise info 'four'; end $$;

create function noisy(i int) returns int language plpgsql as $$ begin raise notice 'row %', i; return i; end $$;

select noisy(i) from generate_series(1, 3) i;

select noisy(1 / (2 - i)) from generate_series(1, 3) i;

set client_min_messages = debug1;

do $$ begin raise debug 'now visible'; raise log 'this too'; end $$;

reset client_min_messages;

do $$ begin raise debug 'not visible'; end $$;

drop table if exists nothing;

commit;

create table t (a serial primary key, b int unique);

select repeat('n', 10) from (select noisy(1)) x;

do $$ begin raise notice '%', repeat('long ', 20000); end $$;
