-- PG-37: currval and lastval ask for what the session did before.

create sequence s;

select nextval('s');

select currval('s');

select setval('s', 100);

select lastval();

create table t (id serial, a int);

insert into t (a) values (7) returning id;

select lastval();

select nextval('t_id_seq'), currval('t_id_seq'), lastval();

begin;

select nextval('s');

rollback;

select currval('s'), nextval('s');

discard sequences;

select currval('s');
