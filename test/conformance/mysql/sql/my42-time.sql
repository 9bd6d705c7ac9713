-- MY-42: a clock that stands still, and numbers that were announced.

set timestamp = 1000000000;

select now(), unix_timestamp();

set timestamp = default;

select now() > '2020-01-01';

create table t (a int auto_increment primary key); set insert_id = 100; insert into t values (null);

select last_insert_id();

insert into t values (null);

select max(a) from t;

set rand_seed1 = 1, rand_seed2 = 2;

select rand() = rand();
