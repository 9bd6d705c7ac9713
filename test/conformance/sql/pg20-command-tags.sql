-- PG-20, PG-38: the tag of every kind of command.

create table t (a int primary key, b text);

create index t_b on t (b);

create view v as select * from t;

create materialized view m as select * from t;

refresh materialized view m;

create type mood as enum ('sad', 'happy');

create sequence s;

create function f(int) returns int language sql as 'select $1 + 1';

create procedure p() language plpgsql as $$ begin null; end $$;

comment on table t is 'a table';

insert into t select i, 'text ' || i from generate_series(1, 5) i;

update t set b = upper(b) where a > 2;

delete from t where a = 5;

merge into t using (values (1), (9)) w(x) on t.a = w.x when matched then update set b = 'merged' when not matched then insert values (w.x, 'new');

insert into t values (1, 'again') on conflict (a) do update set b = excluded.b returning a, b;

select f(41);

call p();

values (1, 'a'), (2, 'b');

table t;

explain (costs off) select * from t where a = 1;

truncate t;

analyze t;

alter table t add c bool default true;

drop view v;

drop table if exists no_such_table;

lock table t;

do $$ begin null; end $$;

checkpoint;

select 'happy'::mood;
