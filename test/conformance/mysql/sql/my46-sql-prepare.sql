-- MY-46: PREPARE in SQL belongs to the session.
-- pool: 2

create table t (a int primary key, b varchar(10)); insert into t values (1, 'one'), (2, 'two');

prepare s from 'select * from t where a = ?';

set @a = 2;

execute s using @a;

\session b

execute s using @a;

\session a

execute s using @a;

set @sql = 'insert into t values (?, ?)'; prepare i from @sql; set @x = 3, @y = 'three'; execute i using @x, @y;

select row_count();

deallocate prepare s;

execute s using @a;

drop prepare i;

prepare broken from 'selec 1';

prepare s from 'select 1'; prepare s from 'select 2'; execute s;

\connect

execute s;
