-- PG-35: SET is undone with its transaction, and kept with it.

begin;

select 1;

set work_mem = '6MB';

set timezone = 'Asia/Tokyo';

rollback;

show work_mem;

show timezone;

begin;

select 1;

set work_mem = '6MB';

commit;

show work_mem;

begin;

set work_mem = '7MB';

savepoint s;

set work_mem = '8MB';

rollback to savepoint s;

commit;

show work_mem;

begin;

set work_mem = '9MB';

select 1 / 0;

set work_mem = '10MB';

commit;

show work_mem;

set work_mem = '11MB'; select 1 / 0;

show work_mem;

set work_mem = '12MB'; select 1;

show work_mem;
