-- PG-26: messages without a statement.

;

;;;

-- only a comment

/* a /* nested */ comment */

/* one */ ; -- two

select 1; -- with a comment after it

-- a comment before it
select 2

begin;

;

-- still inside

commit;
