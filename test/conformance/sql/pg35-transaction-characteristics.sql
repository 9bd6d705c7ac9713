-- PG-35: characteristics of a transaction, of the session, and their difference.

set transaction isolation level serializable;

show transaction_isolation;

begin;

set transaction isolation level repeatable read;

show transaction_isolation;

select 1;

set transaction isolation level serializable;

rollback;

set session characteristics as transaction isolation level repeatable read, read only;

show transaction_isolation;

create table t (a int);

begin read write;

create table t (a int);

commit;

show transaction_read_only;

set session characteristics as transaction isolation level read committed, read write;

show transaction_read_only;

set default_transaction_isolation = serializable;

show transaction_isolation;

reset default_transaction_isolation;
