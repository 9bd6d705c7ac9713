-- PG-21: many small queries, one after the other, without semicolons.

select 1

select 2

select 3

begin

select 4

commit

select 5
