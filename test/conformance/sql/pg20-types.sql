-- PG-20: values of many types, null among them.

select 1::int2, 2::int4, 3::int8, 4.5::numeric, 1.5::float4, 2.25::float8, 'NaN'::float8, true, null;

select 'text', 'c'::char, 'v'::varchar(3), 'padded'::char(8), 'n'::name, '\x00ff10'::bytea;

select date '2024-02-29', time '12:34:56.789', timestamp '2024-02-29 12:00:00', timestamptz '2024-02-29 12:00:00+02', interval '1 day 2 hours';

select array[1, null, 3], array[['a', 'b'], ['c', 'd']], row(1, 'x', null), int4range(1, 5), '{"a": [1, 2]}'::jsonb, '10.0.0.0/8'::cidr, 'f47ac10b-58cc-4372-a567-0e02b2c3d479'::uuid;

select 'äöü €  😀', U&'\0441\043B\043E\043D', '';

select from generate_series(1, 3);

select;
