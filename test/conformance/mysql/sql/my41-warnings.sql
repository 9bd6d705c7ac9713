-- MY-41: warnings are there for the next statements, and their number with each answer.

create table t (a tinyint);

set sql_mode = '';

insert into t values (300), ('x'), (1);

show warnings;

show warnings limit 1;

show count(*) warnings;

select @@warning_count, @@error_count;

insert into t values (301);

get diagnostics @n = number;

select @n;

insert into t values (302);

get diagnostics condition 1 @state = returned_sqlstate, @number = mysql_errno, @text = message_text;

select @state, @number, @text;

drop table if exists nowhere;

show warnings;

select nothing;

show errors;

show count(*) errors;

select * from t;

show warnings;
