-- MY-44: comments that are code, and comments that are not.

/*!50000 set @a = 1 */;

select @a;

/*!99999 syntax error */ select 'ignored';

select 1 /*!50000 + 1 */ as two;

select /*! 'x' */ as x;

select 1 -- comment
 + 1;

select 1 # comment
 + 1;

select 1 --1;

/* before */ begin;

/*!50000 rollback */;

select 'a;b', "c;d", `e;f` from (select 1 as `e;f`) as x; select 'it''s', 'it\'s';
