-- PG-37: LOAD, plan settings and the plans that they make.

load 'plpgsql';

set plan_cache_mode = force_generic_plan;

create table t (a int primary key);

prepare q(int) as select * from t where a = $1;

set enable_seqscan = off; set enable_bitmapscan = off;

explain (costs off) execute q(1);

reset enable_seqscan; reset enable_bitmapscan; set enable_indexscan = off; set enable_indexonlyscan = off; set enable_bitmapscan = off;

explain (costs off) select * from t where a = 1;

reset all;

show plan_cache_mode;

deallocate all;
