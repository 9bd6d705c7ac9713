-- PG-36: a SET that is wrong fails where it stands.

select 1;

set work_mem = 'nonsense';

select 2;

set timezone = 'No/Where';

select 3; set search_path_typo = x; select 4;

show work_mem;

begin;

set statement_timeout = -5;

select 5;

rollback;

set work_mem = '6MB'; set work_mem = 'wrong';

show work_mem;

reset no_such_setting;

set server_version = '99';

set max_connections = 3;
