-- MY-42: variables of the session, in every form of SET, stay with it and with nobody else.

set sql_mode = 'ANSI_QUOTES';

select "sql_mode" from (select 1 as sql_mode) as x;

set session time_zone = '+03:00', @@session.group_concat_max_len = 100, @@lock_wait_timeout = 7;

select @@time_zone, @@group_concat_max_len, @@lock_wait_timeout, @@sql_mode;

\session b

select @@time_zone, @@group_concat_max_len, @@lock_wait_timeout;

select 'a' 'b', @@sql_mode like '%ANSI_QUOTES%';

\session a

select @@time_zone, @@group_concat_max_len, @@lock_wait_timeout, @@sql_mode;

set group_concat_max_len = default, time_zone = default;

select @@time_zone, @@group_concat_max_len = @@global.group_concat_max_len;

set nothing = 1;

set @@session.sql_mode = concat(@@sql_mode, ',NO_BACKSLASH_ESCAPES');

select 'a\b', @@sql_mode;

set time_zone = 'nowhere/at all';

set foreign_key_checks = 0, time_zone = 'nowhere/at all';

select @@foreign_key_checks, @@time_zone;

set sql_safe_updates = 1, unique_checks = off, max_sort_length = 64;

select @@sql_safe_updates, @@unique_checks, @@max_sort_length;

set local sql_big_selects = 0;

select @@sql_big_selects;

set sql_select_limit = 1;

select 1 union select 2;
