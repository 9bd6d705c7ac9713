-- MY-40: ids that a number of JavaScript cannot hold come as they are.

create table t (a bigint auto_increment primary key);

insert into t values (-1);

begin;

insert into t values (-2);

insert into t values (9007199254740993);

insert into t values ();

select last_insert_id();

commit;

insert into t values (-9223372036854775808);

select last_insert_id();

select last_insert_id(18446744073709551615);

select last_insert_id();
