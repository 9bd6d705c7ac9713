-- PG-39, PG-26: commands that refuse to run inside a transaction.

create table t (a int);

vacuum t;

begin;

vacuum t;

rollback;

vacuum t; select 1;

select 1; vacuum t;

create index concurrently t_a on t (a);

begin; create index concurrently t_b on t (a);

rollback;

alter system reset all;

reindex table concurrently t;
