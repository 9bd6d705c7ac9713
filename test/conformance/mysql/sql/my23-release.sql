-- MY-23: COMMIT RELEASE ends the connection.

begin;

commit and no chain release
