-- PG-28: COPY FROM STDIN that fails: on the data, on a constraint, by the client, before it begins.

create table t (a int primary key);

copy t from stdin;
1
x
2
\.

copy t from stdin;
1
1
\.

copy t from stdin;
1	2
\.

copy t from stdin;

copy no_such_table from stdin;
1
\.

select * from t;

copy t from stdin (on_error ignore, log_verbosity verbose);
5
bad
6
\.

copy t from stdin; select 'not reached';
oops
\.

select * from t order by a;
