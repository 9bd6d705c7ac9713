-- PG-37: temporary objects belong to the session.

create temporary table t (a int);

insert into t values (1), (2);

select sum(a) from t;

begin;

create temp table u (a int) on commit drop;

insert into u select * from t;

select count(*) from u;

commit;

select count(*) from u;

create temp table w (a int) on commit delete rows;

insert into w values (1);

select count(*) from w;

select 7 as seven into temp v;

table v;

create table pg_temp.x as select 8 as eight;

table x;

create temp view y as select 9 as nine;

table y;

create temp sequence z;

select nextval('z'), currval('z');

do $$ begin create temp table hidden (a int); insert into hidden values (10); end $$;

table hidden;

drop table t;

discard temp;

table v;
