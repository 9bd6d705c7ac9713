-- PG-22, PG-14: errors of every kind, with all their fields.

create table parent (id int primary key);

create table child (id int references parent, v varchar(2) not null, unique (v));

insert into child values (1, 'a');

insert into parent values (1);

insert into child values (1, 'abc');

insert into child values (1, null);

insert into child values (1, 'a');

insert into child values (1, 'a');

insert into parent values (1);

delete from parent;

select no_such_column from parent;

select * from no_such_table;

select no_such_function(1);

selec 1;

select 'unterminated;

select "unterminated;

select $tag$ unterminated;

select /* unterminated;

select 1 +;

select 'äöü' +* 'x';

select 1 / 0;

select 'x'::int;

select '2024-02-30'::date;

select 9223372036854775807 + 1;

do $$ begin raise exception 'mine' using errcode = 'XY123', detail = 'the detail', hint = 'the hint', column = 'c', constraint = 'k', datatype = 'd', table = 't', schema = 's'; end $$;

do $$ begin perform 1 / 0; end $$;

set no_such_setting = 1;

alter system set work_mem = 1;

drop database postgres;

commit prepared 'nobody';
