-- MY-41: a client that counts the rows that were found, not those that changed.
-- capabilities: found-rows

create table t (a int); insert into t values (1), (2);

update t set a = 1;

select row_count();

insert into t values (3);
