/** Where the database is, for all programs. */

const { env } = process;

export const CONNECTION = {
  host: env.MYSQL_HOST ?? '127.0.0.1',
  port: Number(env.MYSQL_TCP_PORT),
  user: env.MYSQL_USER ?? '',
  password: env.MYSQL_PWD ?? '',
  database: env.MYSQL_DATABASE ?? '',
};
