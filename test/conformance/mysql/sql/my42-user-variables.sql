-- MY-42: variables of the user, however they are set, stay with the session and with nobody else.
-- pool: 2

set @a = 1, @b := 'two';

select @a, @b, @c;

select @a := @a + 1;

select @a;

select @total := 0; select @total := @total + a from (select 1 as a union select 2) as x; select @total;

select 5 into @five;

select @five, @FIVE, @`five`;

\session b

select @a, @five;

\session a

select @a;

create table t (a int); insert into t values (1), (2); set @row = 0; select @row := @row + 1 as number, a from t order by a;

\connect

select @a, @five;
