/**
 * What a server's error at a log-in is about: it passes by itself, or the user and the password are to
 * blame, or somebody has to act.
 * https://dev.mysql.com/doc/mysql-errors/9.4/en/server-error-reference.html
 * https://mariadb.com/docs/server/reference/error-codes/mariadb-error-code-reference
 */

import type { ServerError } from '../wire/replies.ts';

/**
 * The server has no connection or thread to spare, is starting, stopping or offline, or the network has
 * failed between the two.
 */
const TEMPORARY: ReadonlySet<number> = new Set([
  1040, 1041, 1053, 1077, 1079, 1135, 1152, 1158, 1159, 1160, 1161, 1184, 1203, 1226, 1927, 3032,
  3168,
]);

/** Access denied in all its forms, a locked account, an expired password. */
const AUTHENTICATION: ReadonlySet<number> = new Set([
  1044, 1045, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 1873, 3118, 3159, 3955, 4151,
]);

/** It has no connection to spare: for anybody, or for this user. */
const FULL: ReadonlySet<number> = new Set([1040, 1203, 1226]);

export function isFull({ errno }: ServerError): boolean {
  return FULL.has(errno);
}

export function isTemporary({ errno }: ServerError): boolean {
  return TEMPORARY.has(errno);
}

export function isAboutAuthentication({ errno, sqlState }: ServerError): boolean {
  return AUTHENTICATION.has(errno) || sqlState === '28000';
}

/** ER_ACCESS_DENIED_ERROR: what a server says to a wrong password, among others. */
export function isPasswordRefused({ errno }: ServerError): boolean {
  return errno === 1045;
}
