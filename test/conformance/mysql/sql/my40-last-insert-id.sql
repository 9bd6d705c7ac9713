-- MY-40: LAST_INSERT_ID and what has the same value, right after, and later.

create table t (a int auto_increment primary key, b int unique);

insert into t (b) values (1);

select last_insert_id();

select last_insert_id(), @@last_insert_id, @@identity;

insert into t (b) values (2), (3), (4);

select last_insert_id();

insert into t (b) values (2) on duplicate key update a = last_insert_id(a), b = 20;

select last_insert_id();

select last_insert_id(42);

select last_insert_id();

update t set b = last_insert_id(b + 100) where a = 1;

select last_insert_id();

insert into t (a, b) values (50, 50);

select last_insert_id();

insert ignore into t (b) values (50);

select last_insert_id();

replace into t (b) values (50);

select last_insert_id();

begin; insert into t (b) values (51); rollback;

select last_insert_id();

\session b

select last_insert_id();

\session a

select last_insert_id();
