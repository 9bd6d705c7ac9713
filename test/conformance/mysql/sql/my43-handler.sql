-- MY-43: a HANDLER stays open between statements.

create table t (a int primary key, b int); insert into t values (1, 10), (2, 20), (3, 30);

handler t open as h;

handler h read first;

handler h read next;

select 1;

handler h read `primary` = (3);

handler h close;

handler h read next;
