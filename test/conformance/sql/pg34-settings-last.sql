-- PG-34, PG-35: settings are there in every later statement, whatever ran in between.

set work_mem = '5MB';

set search_path = one, two;

show work_mem;

begin;

show search_path;

commit;

select current_setting('work_mem'), current_setting('search_path');

set extra_float_digits = 0;

select 0.1::float8 + 0.2::float8;

set bytea_output = 'escape';

select '\x0001ff'::bytea;

set enable_seqscan to off;

show enable_seqscan;

reset work_mem;

show work_mem;

reset all;

show search_path;

show enable_seqscan;
