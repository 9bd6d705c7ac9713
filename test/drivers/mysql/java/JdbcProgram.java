import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.sql.BatchUpdateException;
import java.sql.CallableStatement;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Connector/J with HikariCP as an application uses them: first all settings as they come, then with those
 * that HikariCP recommends, with which statements are prepared at the server. What it does is printed, one
 * line for each step, to be compared between two runs.
 */
public final class JdbcProgram {
  /** More connections than the pool has. */
  private static final int CLIENTS = 12;

  private static final int ROUNDS = 4;

  private static final String RECOMMENDED =
      "?useServerPrepStmts=true&cachePrepStmts=true&rewriteBatchedStatements=true"
          + "&useLocalSessionState=true&cacheResultSetMetadata=true&cacheServerConfiguration=true"
          + "&elideSetAutoCommits=true&maintainTimeStats=false";

  private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

  public static void main(String[] args) throws Exception {
    for (String options : List.of("", RECOMMENDED)) {
      HikariConfig config = new HikariConfig();
      config.setJdbcUrl(
          "jdbc:mysql://"
              + (env("MYSQL_HOST") + ":" + env("MYSQL_TCP_PORT") + "/" + env("MYSQL_DATABASE"))
              + options);
      config.setUsername(env("MYSQL_USER"));
      config.setPassword(env("MYSQL_PWD"));
      config.setMaximumPoolSize(CLIENTS);
      try (HikariDataSource pool = new HikariDataSource(config)) {
        work(pool);
      }
    }
  }

  private static void work(HikariDataSource pool) throws Exception {
    try (Connection connection = pool.getConnection();
        Statement statement = connection.createStatement()) {
      statement.execute("drop table if exists jdbc_orders");
      statement.execute(
          "create table jdbc_orders (id int auto_increment primary key,"
              + " customer varchar(50) not null unique)");
    }
    for (Step step :
        List.<Step>of(
            JdbcProgram::types,
            JdbcProgram::transactions,
            JdbcProgram::errors,
            JdbcProgram::changes,
            JdbcProgram::batches,
            JdbcProgram::procedures,
            JdbcProgram::parts,
            JdbcProgram::catalogue)) {
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
    return error.getSQLState() + " " + error.getErrorCode() + " " + error.getMessage();
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
        boolean isBinary = results.getMetaData().getColumnType(n) == Types.VARBINARY;
        row.add(isBinary ? Arrays.toString(results.getBytes(n)) : results.getString(n));
      }
      rows.add(row);
    }
    return rows;
  }

  private static void types(Connection connection) throws SQLException {
    for (int round = 0; round < ROUNDS; round++) {
      report(
          "types",
          rows(
              connection,
              "select ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
              "text with ' and \" and ü 🦑",
              -42,
              1L << 62,
              new BigDecimal("123456789.000000001"),
              1e-7,
              true,
              LocalDateTime.of(2026, 2, 3, 4, 5, 6, 789_000_000),
              LocalDate.of(2026, 2, 3),
              new byte[] {0, 1, -128, -1},
              null));
    }
    report("large", rows(connection, "select length(?)", "x".repeat(1_000_000)));
    try (PreparedStatement statement = connection.prepareStatement("select ? as a, 'b' as b")) {
      report("parameters", statement.getParameterMetaData().getParameterCount());
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
      connection.rollback(savepoint);
      report("inserted", rows(connection, insert, "two " + round));
      if (round % 2 == 0) connection.commit();
      else connection.rollback();
    }
    report("level", connection.getTransactionIsolation());
    try (PreparedStatement statement =
        connection.prepareStatement(insert, Statement.RETURN_GENERATED_KEYS)) {
      statement.setString(1, "with a key");
      statement.executeUpdate();
      report("key", read(statement.getGeneratedKeys()));
    }
    report("key again", rows(connection, "select last_insert_id()"));
    connection.commit();
    connection.setReadOnly(true);
    report("read only", rows(connection, insert, "refused"));
    connection.rollback();
    connection.setReadOnly(false);
    connection.setAutoCommit(true);
    connection.setTransactionIsolation(Connection.TRANSACTION_REPEATABLE_READ);
    report("orders", rows(connection, "select customer from jdbc_orders order by id"));
  }

  private static void errors(Connection connection) throws SQLException {
    for (int round = 0; round < ROUNDS; round++) {
      report("no table", rows(connection, "select * from jdbc_nowhere where id = ?", round));
      report("bad text", rows(connection, "selekt ?", "x"));
      report("too long", rows(connection, "insert into jdbc_orders (customer) values (?)", "x".repeat(60)));
      report("after", rows(connection, "select ?", round));
    }
    try (Statement statement = connection.createStatement()) {
      statement.execute("select cast('x' as signed)");
      report("warning", String.valueOf(statement.getWarnings()));
    }
  }

  /** A table changes under statements that are in the driver's cache. */
  private static void changes(Connection connection) {
    rows(connection, "drop table if exists jdbc_items");
    rows(connection, "create table jdbc_items (a int)");
    rows(connection, "insert into jdbc_items values (1)");
    String all = "select * from jdbc_items";
    for (String change : List.of("add column b varchar(5) default 'b'", "modify a varchar(5)")) {
      for (int round = 0; round < ROUNDS; round++) report("before", rows(connection, all));
      rows(connection, "alter table jdbc_items " + change);
      for (int round = 0; round < ROUNDS; round++) report(change, rows(connection, all));
    }
  }

  private static void batches(Connection connection) throws SQLException {
    String insert = "insert into jdbc_orders (customer) values (?)";
    try (PreparedStatement statement = connection.prepareStatement(insert)) {
      for (int n = 0; n < 300; n++) {
        statement.setString(1, "batch " + n);
        statement.addBatch();
      }
      report("batch", statement.executeBatch().length);
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

  private static void procedures(Connection connection) throws SQLException {
    rows(connection, "drop procedure if exists jdbc_sum");
    rows(
        connection,
        "create procedure jdbc_sum (a int) begin select a + 1 as first; select a + 2 as second; end");
    try (CallableStatement call = connection.prepareCall("{call jdbc_sum(?)}")) {
      for (int round = 0; round < ROUNDS; round++) {
        call.setInt(1, round);
        call.execute();
        report("first", read(call.getResultSet()));
        call.getMoreResults();
        report("second", read(call.getResultSet()));
      }
    }
  }

  /** A result that is read row by row. */
  private static void parts(Connection connection) throws SQLException {
    String sql = "select a.customer from jdbc_orders a, jdbc_orders b limit 6000";
    for (int round = 0; round < ROUNDS; round++) {
      try (PreparedStatement statement = connection.prepareStatement(sql)) {
        statement.setFetchSize(Integer.MIN_VALUE);
        int count = 0;
        try (ResultSet results = statement.executeQuery()) {
          // Every other result is left in the middle.
          while ((round % 2 == 0 || count < 1_500) && results.next()) count++;
        }
        report("count", count);
      }
    }
  }

  private static void catalogue(Connection connection) throws SQLException {
    var metaData = connection.getMetaData();
    try (ResultSet columns = metaData.getColumns("app", null, "jdbc_orders", null)) {
      while (columns.next()) report("column", columns.getString("COLUMN_NAME"));
    }
    report("valid", connection.isValid(5));
    report("catalogue", connection.getCatalog());
    connection.setCatalog("second");
    report("catalogue", rows(connection, "select database()"));
    connection.setCatalog("app");
  }

  /** The driver ends the statement by a KILL QUERY on another connection. */
  private static void timeouts(HikariDataSource pool) throws Exception {
    try (Connection connection = pool.getConnection();
        Statement statement = connection.createStatement()) {
      statement.setQueryTimeout(1);
      try {
        statement.execute("select count(*), sleep(60) from jdbc_orders a");
        report("timeout", "none");
      } catch (SQLException error) {
        report("timeout", error.getClass().getSimpleName() + " " + describe(error));
      }
      statement.setQueryTimeout(0);
      report("after", rows(connection, "select 1"));
      String query = "select count(*), sleep(60) as for_jdbc from jdbc_orders a";
      ExecutorService other = Executors.newSingleThreadExecutor();
      Future<Object> failed =
          other.submit(
              () -> {
                try {
                  return statement.execute(query);
                } catch (SQLException error) {
                  // The server's words, or the driver's if it has noticed first what it did.
                  return error.getMessage().matches(".*(interrupted|cancelled).*");
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
    String running = "select 1 from information_schema.processlist where info = ?";
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
    for (int n = 0; n < 400; n++) {
      int number = n;
      answers.add(
          threads.submit(
              () -> {
                try (Connection connection = pool.getConnection()) {
                  String sql = "select ? * 10 + " + number % 15;
                  return rows(connection, sql, number);
                }
              }));
    }
    for (Future<Object> answer : answers) report("crowd", answer.get(60, TimeUnit.SECONDS));
    threads.shutdown();
  }
}
