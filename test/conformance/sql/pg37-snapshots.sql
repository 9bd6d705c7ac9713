-- PG-37: exported snapshots, and the isolation that shows them.

begin isolation level repeatable read;

select length(pg_export_snapshot()) > 0;

commit;

begin isolation level repeatable read;

set transaction snapshot 'nonsense';

rollback;

set transaction snapshot 'nonsense';
