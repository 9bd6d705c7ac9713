-- PG-27: large objects live inside a transaction.

begin;

select lo_create(424242);

select lo_open(424242, x'60000'::int);

select lowrite(0, 'hello, large object');

select lo_lseek(0, 7, 0);

select loread(0, 5);

select lo_close(0);

commit;

select convert_from(lo_get(424242), 'UTF8');

select lo_unlink(424242);

select lo_get(424242);
