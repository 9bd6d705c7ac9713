/** Commands that the proxy sends for itself. */

import { CLIENT_QUERY_ATTRIBUTES, COM_QUERY, COM_QUIT, has } from './capabilities.ts';
import { packet } from './packets.ts';

export const QUIT_MESSAGE = packet(0, Buffer.of(COM_QUIT));

const QUERY = Buffer.of(COM_QUERY);
/** No attributes, in one set of them. */
const QUERY_WITHOUT_ATTRIBUTES = Buffer.of(COM_QUERY, 0, 1);

/**
 * COM_QUERY with the text `sql`, on a connection of `capabilities`.
 * https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_com_query.html
 */
export function queryMessage(sql: string, capabilities: number): Buffer {
  const hasAttributes = has(capabilities, CLIENT_QUERY_ATTRIBUTES);
  return packet(0, hasAttributes ? QUERY_WITHOUT_ATTRIBUTES : QUERY, Buffer.from(sql));
}
