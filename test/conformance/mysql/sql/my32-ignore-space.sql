-- MY-32: what a client asks for at its log-in, it also has on a connection that was cleaned before.
-- capabilities: ignore-space

select @@sql_mode like '%IGNORE_SPACE%', count (*) from mysql.time_zone where 1 = 0;

set @left = 1;

\connect

select @@sql_mode like '%IGNORE_SPACE%', count (*) from mysql.time_zone where 1 = 0;

set sql_mode = concat(@@sql_mode, ',ANSI_QUOTES'); set @left = 1;

\connect

select @@sql_mode like '%IGNORE_SPACE%', @@sql_mode like '%ANSI_QUOTES%', @left;

set sql_mode = default;

select @@sql_mode like '%IGNORE_SPACE%';
