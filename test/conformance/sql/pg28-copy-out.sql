-- PG-28: COPY TO STDOUT in its formats, and its failure on the way.

create table t (a int, b text);

insert into t values (1, 'one'), (2, null), (3, E'tab\there\nand line');

copy t to stdout;

copy (select * from t order by a desc) to stdout (format csv, header, force_quote *);

copy (select a from t order by a) to stdout (format binary);

copy (select i, repeat('y', 100) from generate_series(1, 200) i) to stdout;

copy (select 10 / (3 - i) from generate_series(1, 5) i) to stdout;

copy t to stdout; select 'and then';

begin; copy (select 1) to stdout; copy (select 2) to stdout; commit;

copy t to '/no/such/place';
