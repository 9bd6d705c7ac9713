-- PG-35: SET LOCAL ends with its transaction, and savepoints bring back what was.

set local work_mem = '6MB';

show work_mem;

begin;

set local work_mem = '6MB';

savepoint s;

set local work_mem = '7MB';

show work_mem;

rollback to s;

show work_mem;

commit;

show work_mem;

begin; set local timezone = 'Asia/Tokyo'; select timestamptz '2024-01-01 00:00:00+00'; commit;

select timestamptz '2024-01-01 00:00:00+00';

set local work_mem = '8MB'; show work_mem;

show work_mem;
