-- PG-33, PG-37: notifications to oneself: at once, at commit, never after a rollback, none after UNLISTEN.

listen one;

notify one, 'payload';

begin;

notify one, 'at commit';

select 'not yet';

notify one, 'at commit';

notify one, 'another';

commit;

begin;

notify one, 'lost';

rollback;

select pg_notify('one', 'by function');

listen "Two";

select pg_notify('Two', 'x'), pg_notify('one', 'y');

unlisten one;

notify one, 'nobody hears';

notify "Two";

begin;

listen three;

rollback;

notify three;

unlisten *;

notify "Two";

select 'end';
