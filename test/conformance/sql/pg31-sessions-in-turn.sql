-- PG-31, PG-20: sessions that come and go.

select 'a';

\session b

begin;

select 'b';

commit;

\connect

select 'b again';

\session a

\connect

select 'a again';

\session c

select 'c';
