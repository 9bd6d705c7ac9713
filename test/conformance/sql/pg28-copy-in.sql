-- PG-28: COPY FROM STDIN in its formats.

create table t (a int, b text);

copy t from stdin;
1	one
2	\N
3	tab\there
\.

copy t (b, a) from stdin (format csv, header);
b,a
"quoted, with ""quotes""",4
,5
\.

copy t from stdin where a > 6;
6	six
7	seven
\.

select * from t order by a;

copy t from stdin;
\.

copy t (a) from stdin; select count(*) from t;
8
9
\.
