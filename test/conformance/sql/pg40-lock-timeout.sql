-- PG-40: waiting for a lock of another session.
-- pool: 2

create table t (a int); insert into t values (1);

begin; update t set a = 2;

\session b

set lock_timeout = '20ms';

select * from t for update;

begin; select * from t for update nowait;

rollback;

select * from t for update skip locked;

\session a

commit;

\session b

reset lock_timeout;

update t set a = a + 10 returning a;
