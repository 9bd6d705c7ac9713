-- PG-40: the database's own timeouts.

set statement_timeout = '20ms';

select pg_sleep(10);

reset statement_timeout;

begin; set local statement_timeout = 20; select pg_sleep(10); commit;

rollback;

show statement_timeout;

begin; set local transaction_timeout = 0; select 1; commit;
