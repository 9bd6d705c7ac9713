-- MY-27: the connection id is that of the greeting, and is the same in each statement.
-- pool: 2

select connection_id() = ${id a} as same;

begin; select connection_id() = ${id a} as same; commit;

\session b

select connection_id() = ${id b} as same, connection_id() = ${id a} as other;

\session a

select connection_id() = ${id a} as same, @@pseudo_thread_id = connection_id();

kill query ${id a};

select 'and on';

kill 4294967295;
