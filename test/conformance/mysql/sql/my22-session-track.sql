-- MY-22: what the session was told to report comes with OK, and only that.

select @@session_track_schema, @@session_track_state_change;

use second;

set names latin1;

set time_zone = '+01:00';

set group_concat_max_len = 77;

set autocommit = 0; set autocommit = 1;

set session_track_system_variables = 'group_concat_max_len,sql_mode';

set group_concat_max_len = 78, time_zone = '+02:00';

set sql_mode = '';

set session_track_schema = off;

use app;

set session_track_state_change = on;

use second;

set @x = 1;

create temporary table t (a int);

set session_track_transaction_info = 'STATE';

begin;

select 1;

commit;

set session_track_transaction_info = 'CHARACTERISTICS';

set transaction read only;

begin;

commit;

set session_track_system_variables = '';

set names utf8mb4;
