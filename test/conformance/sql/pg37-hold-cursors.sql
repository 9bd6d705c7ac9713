-- PG-37: a cursor WITH HOLD outlives its transaction.

begin;

declare c cursor with hold for select i from generate_series(1, 5) i;

fetch 1 from c;

commit;

fetch 2 from c;

select name, is_holdable from pg_cursors where name = 'c';

fetch all from c;

close c;

fetch 1 from c;

declare d scroll cursor with hold for select 1;

fetch d;

close all;

select count(*) from pg_cursors where name in ('c', 'd');
