-- PG-20: a transaction over several messages, and what it leaves behind.

create table t (a int primary key, b text);

begin;

insert into t values (1, 'one'), (2, 'two');

select * from t order by a;

commit;

begin;

delete from t;

rollback;

select count(*) from t;

abort;

end;
