-- MY-22: errors of every kind, with their code, state and text; the session goes on.

selec 1;

select * from nowhere;

select nothing from (select 1) as x;

create table t (a int primary key, b int not null, c int, constraint positive check (c > 0));

insert into t values (1, 1, 1);

insert into t values (1, 1, 1);

insert into t (a, b) values (2, null);

insert into t values (3, 3, -1);

insert into t values (1, 2);

select (select a from t union select 2);

call nowhere();

drop table nowhere;

signal sqlstate '45000' set message_text = 'é'' text', mysql_errno = 30001;

select '\'';

select 'unfinished

select 1, repeat('x', 70 * 1024 * 1024) is null;

show warnings;

select 'and on';
