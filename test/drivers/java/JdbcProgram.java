import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.UUID;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.PGNotification;
import org.postgresql.util.PSQLException;
import org.postgresql.util.ServerErrorMessage;

/**
 * pgjdbc with HikariCP as an application uses them, all settings as they come. What it does is
 * printed, one line for each step, to be compared between two runs.
 */
public final class JdbcProgram {
  /** More connections than the pool has. */
  private static final int CLIENTS = 12;

  /** The driver prepares a statement by name when it runs for the fifth time. */
  private static final int ROUNDS = 8;

  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  public static void main(String[] args) throws Exception {
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(
        "jdbc:postgresql://" + env("PGHOST") + ":" + env("PGPORT") + "/" + env("PGDATABASE"));
    config.setUsername(env("PGUSER"));
    config.setPassword(env("PGPASSWORD"));
    config.setMaximumPoolSize(CLIENTS);
    try (HikariDataSource pool = new HikariDataSource(config)) {
      if (args.length > 0 && args[0].equals("listen")) listen(pool);
      else work(pool);
    }
  }

  private static void work(HikariDataSource pool) throws Exception {
    try (Connection connection = pool.getConnection();
        Statement statement = connection.createStatement()) {
      statement.execute("drop table if exists jdbc_orders");
      statement.execute(
          "create table jdbc_orders (id int generated always as identity primary key,"
              + " customer text not null unique)");
    }
    for (Step step :
        List.<Step>of(
            JdbcProgram::types,
            JdbcProgram::transactions,
            JdbcProgram::errors,
            JdbcProgram::changes,
            JdbcProgram::batches,
            JdbcProgram::copies,
            JdbcProgram::parts,
            JdbcProgram::catalogue,
            JdbcProgram::sessionSettings)) {
      try (Connection connection = pool.getConnection()) {
        step.run(connection);
      }
    }
    timeouts(pool);
    crowd(pool);
  }

  private interface Step {
    void run(Connection connection) throws Exception;
  }

  private static String env(String name) {
    return System.getenv(name);
  }

  private static void report(String step, Object result) {
    OUT.println(step + ": " + result);
  }

  private static String describe(SQLException error) {
    ServerErrorMessage refused =
        error instanceof PSQLException known ? known.getServerErrorMessage() : null;
    String text = refused == null ? error.getMessage() : refused.getMessage();
    String detail = refused == null ? "" : refused.getDetail() + " " + refused.getPosition();
    return error.getSQLState() + " " + text + " " + detail;
  }

  /** All rows of a query, or how it failed. */
  private static Object rows(Connection connection, String sql, Object... values) {
    try (PreparedStatement statement = connection.prepareStatement(sql)) {
      for (int n = 0; n < values.length; n++) statement.setObject(n + 1, values[n]);
      return statement.execute() ? read(statement.getResultSet()) : statement.getUpdateCount();
    } catch (SQLException error) {
      return describe(error);
    }
  }

  private static List<List<String>> read(ResultSet results) throws SQLException {
    List<List<String>> rows = new ArrayList<>();
    while (results.next()) {
      List<String> row = new ArrayList<>();
      for (int n = 1; n <= results.getMetaData().getColumnCount(); n++) {
        boolean isBinary = results.getMetaData().getColumnType(n) == Types.BINARY;
        row.add(isBinary ? Arrays.toString(results.getBytes(n)) : results.getString(n));
      }
      rows.add(row);
    }
    return rows;
  }

  private static void types(Connection connection) throws SQLException {
    String sql =
        "select ?::text, ?::int, ?::bigint, ?::numeric, ?::float8, ?::bool, ?::timestamptz, ?::date,"
            + " ?::bytea, ?::jsonb, ?::int[], ?::text[], ?::uuid, ?::inet, ?::text";
    for (int round = 0; round < ROUNDS; round++) {
      report(
          "types",
          rows(
              connection,
              sql,
              "text with ' and ü 🦑",
              -42,
              1L << 62,
              new BigDecimal("123456789.000000001"),
              1e-7,
              true,
              OffsetDateTime.of(2026, 2, 3, 4, 5, 6, 789_000, ZoneOffset.UTC),
              LocalDate.of(2026, 2, 3),
              new byte[] {0, 1, -128, -1},
              "{\"key\": [\"value\", null]}",
              connection.createArrayOf("int4", new Object[] {1, 2, null}),
              connection.createArrayOf("text", new Object[] {"a", "b,\"c\""}),
              UUID.fromString("0b4a6d6e-7f4b-4a53-9d7b-6a2a54a4a000"),
              "10.0.0.0/8",
              null));
    }
    report("large", rows(connection, "select length(?)", "x".repeat(1_000_000)));
    try (Statement statement = connection.createStatement()) {
      statement.execute("select 1; select 2");
      statement.getMoreResults();
      report("several", read(statement.getResultSet()));
    }
    try (PreparedStatement statement = connection.prepareStatement("select ?::int as a, 'b' as b")) {
      report("metadata", statement.getMetaData().getColumnTypeName(1));
      report("parameter", statement.getParameterMetaData().getParameterTypeName(1));
    }
  }

  private static void transactions(Connection connection) throws SQLException {
    String insert = "insert into jdbc_orders (customer) values (?)";
    connection.setAutoCommit(false);
    connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
    for (int round = 0; round < ROUNDS; round++) {
      report("inserted", rows(connection, insert, "one " + round));
      Savepoint savepoint = connection.setSavepoint();
      report("duplicate", rows(connection, insert, "one " + round));
      report("aborted", rows(connection, "select 1"));
      connection.rollback(savepoint);
      report("inserted", rows(connection, insert, "two " + round));
      if (round % 2 == 0) connection.commit();
      else connection.rollback();
    }
    report("level", rows(connection, "show transaction_isolation"));
    connection.rollback();
    try (PreparedStatement statement =
        connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
      statement.setString(1, "with a key");
      statement.executeUpdate();
      report("key", read(statement.getGeneratedKeys()));
    }
    connection.commit();
    connection.setReadOnly(true);
    report("read only", rows(connection, insert, "refused"));
    connection.rollback();
    connection.setReadOnly(false);
    connection.setAutoCommit(true);
    report("orders", rows(connection, "select customer from jdbc_orders order by id"));
  }

  private static void errors(Connection connection) {
    for (int round = 0; round < ROUNDS; round++) {
      report("no table", rows(connection, "select * from jdbc_nowhere where id = ?", round));
      report("bad text", rows(connection, "select ?::text::int", "x"));
      report("division", rows(connection, "select 1 / ?::int", 0));
      report("after", rows(connection, "select ?::int", round));
    }
  }

  /** A table changes under statements that are in the driver's cache. */
  private static void changes(Connection connection) {
    rows(connection, "drop table if exists jdbc_items");
    rows(connection, "create table jdbc_items (a int)");
    rows(connection, "insert into jdbc_items values (1)");
    String all = "select * from jdbc_items";
    for (String change : List.of("add column b text default 'b'", "alter column a type text")) {
      for (int round = 0; round < ROUNDS; round++) report("before", rows(connection, all));
      rows(connection, "alter table jdbc_items " + change);
      for (int round = 0; round < ROUNDS; round++) report(change, rows(connection, all));
    }
  }

  private static void batches(Connection connection) throws SQLException {
    String insert = "insert into jdbc_orders (customer) values (?)";
    try (PreparedStatement statement = connection.prepareStatement(insert)) {
      for (int n = 0; n < 1_000; n++) {
        statement.setString(1, "batch " + n);
        statement.addBatch();
      }
      report("batch", Arrays.stream(statement.executeBatch()).sum());
      for (String customer : List.of("new", "batch 1", "other")) {
        statement.setString(1, customer);
        statement.addBatch();
      }
      statement.executeBatch();
    } catch (BatchUpdateException error) {
      report("batch failed", error.getSQLState() + Arrays.toString(error.getUpdateCounts()));
    }
    report("orders", rows(connection, "select count(*), max(customer) from jdbc_orders"));
  }

  private static void copies(Connection connection) throws Exception {
    StringBuilder lines = new StringBuilder();
    for (int n = 0; n < 20_000; n++) lines.append("copied ").append(n).append('\n');
    var copies = connection.unwrap(PGConnection.class).getCopyAPI();
    String into = "copy jdbc_orders (customer) from stdin";
    report("copied", copies.copyIn(into, new StringReader(lines.toString())));
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    copies.copyOut("copy (select customer from jdbc_orders order by customer) to stdout", out);
    byte[] hash = MessageDigest.getInstance("SHA-256").digest(out.toByteArray());
    report("copied", HexFormat.of().formatHex(hash));
    try {
      copies.copyIn(into, new StringReader("one\ttwo\n"));
    } catch (SQLException error) {
      report("copy failed", describe(error));
    }
    report("after", rows(connection, "select 1"));
  }

  /** A result that is fetched in parts, from a portal. */
  private static void parts(Connection connection) throws SQLException {
    connection.setAutoCommit(false);
    String sql = "select n from generate_series(1, 5000) n";
    for (int round = 0; round < ROUNDS; round++) {
      try (PreparedStatement statement = connection.prepareStatement(sql)) {
        statement.setFetchSize(300);
        ResultSet results = statement.executeQuery();
        long sum = 0;
        // Every other result is left in the middle.
        while ((round % 2 == 0 || sum < 100_000) && results.next()) sum += results.getInt(1);
        report("sum", sum);
      }
      connection.commit();
    }
    connection.setAutoCommit(true);
  }

  private static void catalogue(Connection connection) throws SQLException {
    // In one schema: others see the temporary tables of every session in the catalogue.
    var metaData = connection.getMetaData();
    try (ResultSet columns = metaData.getColumns(null, "public", "jdbc_orders", null)) {
      while (columns.next()) report("column", columns.getString("COLUMN_NAME"));
    }
    report("valid", connection.isValid(5));
    report("schema", connection.getSchema());
  }

  private static void sessionSettings(Connection connection) throws SQLException {
    connection.setClientInfo("ApplicationName", "orders");
    report("name", rows(connection, "show application_name"));
    connection.setSchema("pg_catalog");
    report("schema", connection.getSchema());
    connection.setSchema("public");
  }

  private static void timeouts(HikariDataSource pool) throws Exception {
    try (Connection connection = pool.getConnection();
        Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      try {
        statement.execute("select pg_sleep(60)");
      } catch (SQLException error) {
        report("timeout", describe(error));
      }
      statement.setQueryTimeout(0);
      report("after", rows(connection, "select 1"));
      String query = "select pg_sleep(60) as for_jdbc";
      ExecutorService other = Executors.newSingleThreadExecutor();
      Future<Object> failed =
          other.submit(
              () -> {
                try {
                  return statement.execute(query);
                } catch (SQLException error) {
                  return describe(error);
                }
              });
      untilRunning(pool, query);
      statement.cancel();
      report("cancelled", failed.get(30, TimeUnit.SECONDS));
      other.shutdown();
      report("after", rows(connection, "select 1"));
    }
  }

  /** Waits until the database runs the statement. */
  private static void untilRunning(HikariDataSource pool, String query) throws SQLException {
    String running = "select 1 from pg_stat_activity where state = 'active' and query = ?";
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30);
    try (Connection connection = pool.getConnection()) {
      while (rows(connection, running, query).equals(List.of())) {
        if (System.nanoTime() > deadline) throw new IllegalStateException(query);
      }
    }
  }

  private static void crowd(HikariDataSource pool) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(CLIENTS);
    List<Future<Object>> answers = new ArrayList<>();
    for (int n = 0; n < 600; n++) {
      int number = n;
      answers.add(
          threads.submit(
              () -> {
                try (Connection connection = pool.getConnection()) {
                  String sql = "select ?::int * 10 + " + number % 15;
                  return rows(connection, sql, number);
                }
              }));
    }
    for (Future<Object> answer : answers) report("crowd", answer.get(60, TimeUnit.SECONDS));
    threads.shutdown();
  }

  private static void listen(HikariDataSource pool) throws SQLException {
    try (Connection listener = pool.getConnection();
        Connection notifier = pool.getConnection()) {
      rows(listener, "listen jdbc_news");
      for (String payload : List.of("first", "last")) {
        rows(notifier, "select pg_notify('jdbc_news', ?)", payload);
        PGConnection connection = listener.unwrap(PGConnection.class);
        for (PGNotification heard : connection.getNotifications(30_000)) {
          report("heard", heard.getName() + " " + heard.getParameter());
        }
      }
    }
  }
}
