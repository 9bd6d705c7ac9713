-- MY-28: a file of the client, only when a statement asks for it.

create table t (a int, b varchar(20));

load data local infile 'letters.txt' into table t fields terminated by ',' lines terminated by '\n';
1,one
2,two
3,three
\.

select * from t order by a;

load data local infile 'refused.txt' into table t;

select count(*) from t;

load data local infile 'broken.txt' into table t fields terminated by ',' lines terminated by '\n';
x,one
4
5,five,more
\.

show warnings;

load data local infile 'x' into table nowhere;
1
\.

begin;

load data local infile 'letters.txt' into table t fields terminated by ',' lines terminated by '\n';
6,six
\.

rollback;

select count(*) from t;

select 'and on';
