/** The tables of the program for Drizzle, as migrations/ makes them. */

import { relations } from 'drizzle-orm';
import { boolean, datetime, decimal, int, json, mysqlTable, varchar } from 'drizzle-orm/mysql-core';

export const users = mysqlTable('drizzle_users', {
  id: int('id').primaryKey().autoincrement(),
  name: varchar('name', { length: 50 }).notNull().unique(),
  isActive: boolean('is_active').notNull().default(true),
  settings: json('settings').$type<{ readonly theme: string }>(),
  joined: datetime('joined', { fsp: 3 }).notNull(),
});

export const posts = mysqlTable('drizzle_posts', {
  id: int('id').primaryKey().autoincrement(),
  author: int('author_id')
    .notNull()
    .references(() => users.id),
  title: varchar('title', { length: 100 }).notNull(),
  price: decimal('price', { precision: 10, scale: 2 }),
});

export const usersRelations = relations(users, ({ many }) => ({ posts: many(posts) }));
export const postsRelations = relations(posts, ({ one }) => ({
  writer: one(users, { fields: [posts.author], references: [users.id] }),
}));
