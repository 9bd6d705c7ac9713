-- PG-25: SQL cursors inside a transaction.

begin;

declare c scroll cursor for select i, repeat('x', i) from generate_series(1, 10) i;

fetch 2 from c;

fetch backward 1 from c;

fetch absolute 9 from c;

move forward 1 in c;

fetch next from c;

fetch all from c;

close c;

fetch 1 from c;

rollback;

fetch 1 from c;

declare d cursor for select 1;
