-- PG-24: procedures and blocks that end transactions by themselves.

create table t (a int);

create procedure fill(n int) language plpgsql as $$
begin
  for i in 1 .. n loop
    insert into t values (i);
    if i % 2 = 0 then commit; else rollback; end if;
  end loop;
end $$;

call fill(6);

select * from t order by a;

begin;

call fill(2);

rollback;

do $$ begin insert into t values (100); commit; insert into t values (101); rollback; end $$;

select * from t order by a;

create procedure answer(inout a int, out b text) language plpgsql as $$ begin a := a + 1; b := 'b'; end $$;

call answer(41, null);
