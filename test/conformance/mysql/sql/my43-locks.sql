-- MY-43: locks by name, and on tables, belong to the session.
-- pool: 2

select get_lock('x', 1), get_lock('y', 1);

\session b

select get_lock('x', 0), is_free_lock('z'), is_used_lock('x') = ${id a} as held;

\session a

select release_lock('x'), release_lock('nothing');

\session b

select get_lock('x', 0);

\session a

select release_all_locks();

\session b

select is_free_lock('y'), release_all_locks();

\session a

create table t (a int); create table u (a int);

lock tables t write;

insert into t values (1);

select * from u;

unlock tables;

select * from u;

\session b

select * from t;
