-- PG-34, PG-37: a custom setting that another session made; `my.own` is null where it never was, empty where it was reset.

set my.own = 'value';

show my.own;

\connect

select coalesce(current_setting('my.own', true), '');

show other.own;
