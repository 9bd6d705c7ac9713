-- MY-20: rows and results far larger than a packet's frame, or a socket's buffer.

select length(repeat('x', 20000000)), repeat('y', 20000000);

select repeat('z', 16777215 - 4);

select repeat('z', 16777215 - 5), 1;

select repeat('ab', 1000000), repeat('cd', 1000000) union all select 'short', null;

select seq.a * 1000 + more.b from (select 1 as a union select 2 union select 3) as seq, (select 4 as b union select 5) as more order by 1;
