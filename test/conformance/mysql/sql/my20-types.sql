-- MY-20: values and metadata of every type, as text.

create table t (
  a tinyint, b smallint unsigned, c mediumint, d int zerofill, e bigint unsigned, f decimal(20,5), g float, h double,
  i bit(10), j date, k time(3), l datetime(6), m timestamp null, n year, o char(5), p varchar(20) character set latin1,
  q binary(3), r varbinary(10), s tinyblob, t longtext, u enum('x','y'), v set('a','b','c'), w geometry, x boolean not null default true)

insert into t values (-1, 65535, -8388608, 7, 18446744073709551615, -123.45678, 1.5, 1e100, b'101', '2024-02-29', '-838:59:59.000',
  '2024-02-29 12:34:56.789012', '2024-02-29 12:34:56', 2024, 'ab', 'é', 'ab', x'00ff', 'blob', 'text', 'y', 'a,c', st_geomfromtext('point(1 2)'), false)

insert into t (a) values (null)

select * from t

select count(*), max(f), null, 1.0, 'x', true, now() is null, 1 = 1, cast(1 as unsigned), 0x41, b'1', date '2024-01-01' from t

select * from t where false

select column_name, column_type from information_schema.columns where table_schema = 'app' order by ordinal_position

'x' as `a b`, 1 as `é`
