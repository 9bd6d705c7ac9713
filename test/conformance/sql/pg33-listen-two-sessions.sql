-- PG-33, PG-37: notifications from another session reach a session that is idle.
-- pool: 2

listen channel;

\session b

notify channel, 'from b';

\session a

\until A

\session b

select pg_notify('channel', 'second');

\session a

\until A

unlisten channel;
