-- PG-30: rows larger than any buffer on the way.

select repeat('x', 3000000) as large, length(repeat('y', 10));

select repeat(chr(i), 100000) from generate_series(97, 122) i;

select repeat('z', i * 1000) from generate_series(0, 100) i;

select 'small again';
