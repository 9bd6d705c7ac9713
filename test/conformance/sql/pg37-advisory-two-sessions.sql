-- PG-37: a session's advisory lock keeps another session out until it is given back.
-- pool: 2

select pg_try_advisory_lock(5);

\session b

select pg_try_advisory_lock(5);

\session a

select pg_advisory_unlock(5);

\session b

select pg_try_advisory_lock(5);

select pg_advisory_unlock_all();
