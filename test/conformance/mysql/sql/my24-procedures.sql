-- MY-24: procedures with several results, OUT parameters, errors and transactions of their own.

create table t (a int primary key);

create procedure several() begin select 1 as one; select 2 as two, 'x' as x; insert into t values (1); end

call several()

call several()

create procedure outs(in a int, out b int, inout c varchar(10)) begin set b = a * 2; set c = concat(c, '!'); end

set @c = 'c'; call outs(21, @b, @c); select @b, @c

create procedure opens() begin start transaction; insert into t values (2); end

call opens()

select count(*) from t

rollback

select count(*) from t

create procedure warns() begin select 1; signal sqlstate '01000' set message_text = 'be warned', mysql_errno = 1000; end

call warns()

show warnings

create procedure fails() begin select 'before'; signal sqlstate '45000' set message_text = 'failed on purpose'; end

call fails()

select 'after'

create function twice(a int) returns int deterministic return a * 2

select twice(21)
