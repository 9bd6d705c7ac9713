-- MY-26: the default database, changed in every spelling, and kept.

select database();

use second

select database();

USE `app`;

select database();

/* a comment */ use /* another */ second -- and one more

select database();

use nowhere

select database();

create table second.t (a int); insert into t values (1); select * from second.t

create database third; use third; select database();

drop database third;

select database();

create table t2 (a int)

use app; select database(); use second; select database()

select database();

\connect

select database();
