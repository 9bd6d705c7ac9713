-- MY-43: distributed transactions, in all their states.

create table t (a int primary key);

xa start 'x';

insert into t values (1);

select * from t;

commit;

xa end 'x';

select 1;

xa prepare 'x';

xa commit 'x';

select * from t;

xa start 'y';

insert into t values (2);

xa end 'y';

xa rollback 'y';

xa start 'z'; insert into t values (3); xa end 'z'; xa commit 'z' one phase;

select * from t order by a;

xa commit 'nothing';

xa recover;
