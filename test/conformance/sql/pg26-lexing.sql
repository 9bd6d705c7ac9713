-- PG-26, PG-37: statements that only look as if they did something to the session.

select 'begin; set work_mem = 1' as "listen";

select $$ commit; create temp table t (a int) $$;

select $tag$ prepare p as $$ nested $$ $tag$;

select /* ; set work_mem = 1; */ 1;

select 1 -- ; begin
;

select E'it\'s; begin';

select U&"d\0061t\+000061" from (select 1 as data) x;

select 'a'
'b';

select 1 as "begin;", 2 as "commit";

create table "set" (a int, "listen" int);

select * from "set";

select 10 % 3, 2 ^ 3, @ -5, '{1,2}'::int[] && '{2}'::int[], 'a' ~~ 'a%';

select $1;

sElEcT 1 WHERE 'x' = 'x' ;
