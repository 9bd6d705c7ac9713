-- PG-38: all the ways to begin and to end.

begin isolation level serializable read only deferrable;

show transaction_isolation;

show transaction_deferrable;

end;

start transaction read only;

create table t (a int);

abort;

begin work;

commit work;

begin transaction read write, isolation level read committed;

rollback transaction;

BeGiN; /* inside */ select 1; eNd

start transaction isolation level read uncommitted;

show transaction_isolation;

begin;

commit and no chain;

commit;

rollback;

begin; select pg_advisory_xact_lock(1); end;

begin isolation level nonsense;

/* a comment */ begin;

-- a comment
commit;
