-- PG-37: advisory locks of the session, and of the transaction.

select pg_advisory_lock(1);

select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();

select pg_advisory_unlock(1);

select pg_advisory_unlock(1);

select pg_try_advisory_lock(1, 2), pg_try_advisory_lock_shared(3);

select pg_advisory_unlock_all();

begin;

select pg_advisory_xact_lock(4);

select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();

commit;

select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid();
