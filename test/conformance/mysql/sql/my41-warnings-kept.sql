-- MY-41: a statement that reads no table leaves the warnings as they are, although it says that it has none.

create table t (a tinyint);

set sql_mode = '';

insert into t values (300), ('x'), (1);

select @@warning_count, @@error_count;

select 1/0;

select @@warning_count;
